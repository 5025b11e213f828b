"""Blobs: files that are named by the sha256 of their content, never edited and only unlinked."""

import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from registry.cache.entry import CacheEntry
from registry.cache.ownership import DIRECTORY_MODE
from registry.cache.reading import sha256_of_regular, status_of
from registry.errors import CacheCorruptError
from registry.files.atomic import rename, replace_file, sync_directory
from registry.files.digests import FileDigest


def install(file: BinaryIO, digest: FileDigest, blob: Path) -> None:
    """Make an open, hashed file the blob of its digest; the file's own name goes away.

    Raises:
        OSError: The disk refused.
    """
    file.flush()
    os.fsync(file.fileno())
    if os.name == "posix":  # elsewhere, a read-only file could not be unlinked
        os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o444)
    try:
        blob.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if (old := status_of(blob)) is not None:  # of another URL, whose entry recognizes the blob by its time
            os.utime(file.name, ns=(old.st_mtime_ns, old.st_mtime_ns))
        rename(Path(file.name), blob)
        sync_directory(blob.parent)
    except FileNotFoundError:  # another process deleted the cache meanwhile; the open file is still complete
        blob.parent.mkdir(parents=True, exist_ok=True)
        file.seek(0)
        replace_file(blob, lambda path: _copy(file, path))
    except PermissionError:  # of Windows, where another process reads the blob: then it is there
        if sha256_of_regular(blob, digest.size) != digest.sha256:
            raise
        Path(file.name).unlink(missing_ok=True)


def is_unchanged(blob: Path, entry: CacheEntry) -> bool | None:
    """Whether a blob is as it was when it was hashed, by size and time alone; None where there is none."""
    status = status_of(blob)
    if status is None:
        return None
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns)


def is_intact(blob: Path) -> bool:
    """Whether a blob is there, and what its name says."""
    status = status_of(blob)
    return status is not None and sha256_of_regular(blob, status.st_size) == blob.name


def check(blob: Path, expected: FileDigest) -> int:
    """Hash a blob.

    Returns:
        Its modification time in nanoseconds.

    Raises:
        CacheCorruptError: It is not what its name says.
    """
    status = status_of(blob)
    found = sha256_of_regular(blob, expected.size)
    if status is None or found != expected.sha256:
        raise CacheCorruptError(
            f"{blob} has changed since it was stored: "
            f"{f'its sha256 is {found}' if found else f'it is not a regular file of {expected.size:,} bytes'}.",
            path=blob,
            hint="It is downloaded again when downloads are allowed; `registry pull NAME` does that.",
        )
    return status.st_mtime_ns


def _copy(file: BinaryIO, path: Path) -> None:
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy, 2**20)
