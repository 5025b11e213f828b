"""What a file is, judged by its first bytes."""

from pathlib import Path

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"

SIGNATURES = {
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b"<": "an HTML or XML page",
    b"version https://git-lfs": "a git-lfs pointer instead of the file (run `git lfs pull`)",
    b"GGUF": "a GGUF file",
    GZIP: "a gzip file",
    ZIP: "a zip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a pickle",
    b"{": "a JSON file",
}
"""First bytes -> what such a file is; compared in lower case and without leading white space, the first match wins."""

START = 512
"""Bytes from which a file is recognised."""

_USTAR = slice(257, 262)
"""Where a tar archive says that it is one."""


def describe(start: bytes) -> str:
    """What a file is that begins with ``start``: ``"an HTML page"``, ``"an empty file"``, ``"an unknown file"``."""
    return recognise(start) or ("an unknown file" if start else "an empty file")


def recognise(start: bytes) -> str | None:
    """The same; None when ``start`` matches no known signature."""
    if start[_USTAR] == b"ustar":
        return "a tar archive that is not compressed"
    text = start.lstrip().lower()
    return next((kind for signature, kind in SIGNATURES.items() if text.startswith(signature.lower())), None)


def start_of(path: Path, size: int = START) -> bytes:
    """The first bytes of a file.  Raises OSError."""
    with path.open("rb") as file:
        return file.read(size)
