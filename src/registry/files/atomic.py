"""Write files so that a crash leaves the old or the new one, and never half of either.

The bytes reach the disk before the name does: a temporary beside the target, fsync, rename, fsync of the folder.
"""

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

PATIENCE = 1.0
"""Seconds for which a rename is tried again: virus scanners and indexers hold files of Windows open for moments."""


def temporary_beside(target: Path) -> Path:
    """A name beside ``target`` that nobody else uses."""
    return target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.tmp")


def write(target: Path, data: bytes) -> None:
    """Write ``data`` as the file ``target``, whose folder exists.  Raises OSError; the old file is then intact."""
    new = temporary_beside(target)
    try:
        with new.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename a synced file over ``target``, and make that last."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            source.replace(target)
            break
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory last; some file systems, and Windows, cannot do it."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
