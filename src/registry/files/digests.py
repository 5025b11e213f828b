"""What the name that a server gives a content says of the bytes."""

import hashlib
import re
from pathlib import Path


def names(etag: str, path: Path) -> bool | None:
    """Whether an ETag (bare, see ``Answer.etag``) is a digest of this file; None for one that is no digest at all.

    64 hex digits are a sha256 (the hub's large files), and 40 the sha1 of a git blob (its small ones).  32 may be the
    md5 of an object on S3: equality then says that the content is the same, and a difference says nothing.
    """
    kind = len(etag) if re.fullmatch(r"[0-9a-f]+", etag) else 0
    if kind == 64:
        return _hex(path, "sha256") == etag
    if kind == 40:
        return _hex(path, "sha1", f"blob {path.stat().st_size}\0".encode()) == etag
    if kind == 32:
        return _hex(path, "md5") == etag or None
    return None


def _hex(path: Path, algorithm: str, prefix: bytes = b"") -> str:
    found = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            found.update(chunk)
    return found.hexdigest()
