"""ETags (RFC 9110, section 8.8.3) that are digests of the content they name."""

import hashlib
import re
from pathlib import Path

from registry.files.digests import hash_file, sha256_of


def matches_etag(etag: str, path: Path, *, sha256: str | None = None) -> bool | None:
    """Whether a file has the digest that an ETag is.

    64 hex digits are a sha256 (large files of the hub) and 40 the sha1 of a git blob (its small files).  32 are
    the md5 of most objects on S3, but not of encrypted ones: there a difference proves nothing.  All other ETags, such
    as those of S3 objects that were uploaded in parts (``<md5>-<n>``), are not digests that can be checked.

    Args:
        etag: An ETag without quotes and ``W/``.
        path: The file.
        sha256: Its sha256, where that is known already.

    Returns:
        True when the digests are equal, False when they differ, None when the ETag proves nothing about the file.

    Raises:
        OSError: The file cannot be read.
    """
    digits = len(etag) if re.fullmatch(r"[0-9a-f]+", etag) else 0
    if digits == 64:
        return (sha256 or sha256_of(path)) == etag
    if digits == 40:
        return hash_file(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)) == etag
    if digits == 32:
        return hash_file(path, hashlib.md5(usedforsecurity=False)) == etag or None
    return None
