"""What a file is, recognized by its first bytes."""

from pathlib import Path

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of files of torch before 1.6, which holds a magic number."""
JSON = b"{"
TABLE_END = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of the index of a TensorFlow checkpoint, and of a checkpoint in TensorFlow's older format."""

STAND_INS = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"version https://git-lfs": "a git-lfs pointer instead of the file (run `git lfs pull`)",
}
"""First bytes of what comes in place of any file -> what it is."""

SIGNATURES = {
    **STAND_INS,
    b"<?xml": "an XML document",
    b"<": "an HTML or XML page",
    b"GGUF": "a GGUF file",
    GZIP: "a gzip file",
    ZIP: "a zip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a pickle",
    JSON: "a JSON file",
}
"""First bytes of a file -> what it is.  The first match counts, in lower case and after white space."""

START = 512
"""Bytes from which a file is recognized."""

LARGEST_HEADER = 10**8
"""Bytes of the header of a safetensors file, whose length comes first."""

_USTAR = slice(257, 262)
"""Where a tar archive carries its magic number (POSIX.1-1988)."""


def describe(start: bytes) -> str:
    """The kind of a file that begins with ``start``: ``"an HTML page"``, ``"an empty file"``, ``"an unknown file"``."""
    return recognize(start) or ("an unknown file" if start else "an empty file")


def recognize(start: bytes) -> str | None:
    """The same as ``describe``, but None when ``start`` matches no known signature."""
    if start[_USTAR] == b"ustar":
        return "a tar archive that is not compressed"
    if start[8:9] == JSON and int.from_bytes(start[:8], "little") < LARGEST_HEADER:
        return "a safetensors file"
    return _match(start, SIGNATURES)


def recognize_stand_in(start: bytes) -> str | None:
    """What came in place of the file: an error page or a git-lfs pointer; None for anything else."""
    return _match(start, STAND_INS)


def start_of(path: Path, size: int = START) -> bytes:
    """The first ``size`` bytes of a file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(size)


def _match(start: bytes, signatures: dict[bytes, str]) -> str | None:
    text = start.lstrip().lower()
    return next((kind for signature, kind in signatures.items() if text.startswith(signature.lower())), None)
