"""What the name that a server gives a content says of the bytes."""

import hashlib
import re
from pathlib import Path

PARTS = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,4})")
"""The ETag of an object that was sent to S3 in parts."""
PART_SIZES = (8, 5, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512, 1000, 1024)
"""MiB of a part, as tools send them; the first is that of Amazon's own.  The ETag does not say."""


def names(etag: str, path: Path) -> bool | None:
    """Whether an ETag (bare, see ``Answer.etag``) is a digest of this file; None for one that is no digest at all.

    64 hex digits are a sha256 (the hub's large files), and 40 the sha1 of a git blob (its small ones).  32 may be the
    md5 of an object on S3, and with ``-n`` after them the md5 of the md5 of its n parts: equality then says that the
    content is the same, and a difference says nothing.
    """
    if parts := PARTS.fullmatch(etag):
        return _is_of_parts(path, parts[1], int(parts[2])) or None
    kind = len(etag) if re.fullmatch(r"[0-9a-f]+", etag) else 0
    if kind == 64:
        return _hex(path, "sha256") == etag
    if kind == 40:
        return _hex(path, "sha1", f"blob {path.stat().st_size}\0".encode()) == etag
    if kind == 32:
        return _hex(path, "md5") == etag or None
    return None


def _is_of_parts(path: Path, expected: str, count: int) -> bool:
    size = path.stat().st_size
    usual = (mebibytes * 2**20 for mebibytes in PART_SIZES)
    return any(_of_parts(path, part) == expected for part in usual if -(-size // part) == count)


def _of_parts(path: Path, part: int) -> str:
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        for start in range(0, path.stat().st_size, part):
            one = hashlib.md5(usedforsecurity=False)
            for _ in range(start, start + part, 2**20):
                one.update(file.read(2**20))
            found.update(one.digest())
    return found.hexdigest()


def _hex(path: Path, algorithm: str, prefix: bytes = b"") -> str:
    found = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            found.update(chunk)
    return found.hexdigest()
