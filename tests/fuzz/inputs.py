"""Inputs: some files by name, kept as one: a line of JSON with their names and lengths, then their bytes."""

import hashlib
import json
import shutil
from pathlib import Path

Files = dict[str, bytes]


def encode(files: Files) -> bytes:
    """Files as one."""
    lengths = json.dumps({name: len(data) for name, data in files.items()})
    return lengths.encode() + b"\n" + b"".join(files.values())


def decode(data: bytes) -> Files | None:
    """The files in one; None where there is no such file."""
    head, newline, rest = data.partition(b"\n")
    try:
        lengths = json.loads(head)
        offset, files = 0, {}
        for name, length in lengths.items():
            files[name] = rest[offset : offset + length]
            offset += length
    except (ValueError, TypeError, AttributeError):
        return None
    return files if newline else None


def digest(files: Files) -> str:
    """A name for an input."""
    return hashlib.sha256(encode(files)).hexdigest()[:16]


def put(files: Files, directory: Path) -> dict[str, Path]:
    """Write the files into a directory, which is emptied; names with ``/`` are in subdirectories."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    paths = {name: directory / name for name in files}
    for name, path in paths.items():
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    return paths
