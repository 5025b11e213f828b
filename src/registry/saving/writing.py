"""Files that appear whole: written beside their place, synced, and renamed to it."""

import glob
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from registry.errors import RegistryError, SaveError

Writer: TypeAlias = Callable[[Path], None]
"""Writes one file to the path it is given."""

DAY = 24 * 60 * 60
"""Seconds."""
TEMPORARY = re.compile(r"\..{1,100}\.[0-9a-f]{32}\.tmp")
"""What ``temporary_beside`` calls files."""


def write_synced(path: Path, writer: Writer, *, like: Path | None = None) -> None:
    """Write a new file and sync it; its mode is that of the file it will replace, else as the umask says."""
    path.touch(exist_ok=False)
    mode = (like if like is not None and like.exists() else path).stat().st_mode & 0o777
    with _full_disk_as_os_error():
        writer(path)
    path.chmod(mode)  # safetensors replaces the file by one of mode 0600
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _full_disk_as_os_error() -> Iterator[None]:
    """Give the errors with which libraries report a disk that takes no more their number again."""
    try:
        yield
    except (OSError, RegistryError):
        raise
    except Exception as problem:
        cause = problem.__context__
        found = re.search(r"\(os error ([0-9]+)\)", str(problem))  # safetensors writes in Rust
        if isinstance(cause, OSError) and cause.errno:
            raise OSError(cause.errno, os.strerror(cause.errno)) from problem
        if found:
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from problem
        raise


def refuse_unfit(places: Iterable[Path]) -> None:
    """Raise SaveError for what a file cannot or should not take the place of: folders, devices, read-only files."""
    for place in places:
        mode = place.stat().st_mode if place.exists() else stat.S_IFREG | stat.S_IWUSR
        if stat.S_ISDIR(mode):
            raise SaveError(f"{place} is a folder, where a file is to be saved.")
        if not stat.S_ISREG(mode):
            raise SaveError(f"{place} is no ordinary file, and is not replaced by one.")
        if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise SaveError(f"{place} is read-only.", hint=f"Make it writable (chmod u+w {place}), or save elsewhere.")


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Let processes that save into one folder rename their files one after the other, so that the last set is whole.

    Where locks do not work, or do nothing, sets may mix; then sizes or digests disagree with the manifest.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl  # there is none on Windows, which has no handles of folders either

            handle = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sweep(target: Path) -> None:
    """Remove what a save that was killed left in the folder or beside it, a day after."""
    beside = target.parent.glob(f".{glob.escape(target.name[:100])}.*.tmp")
    for path in [*beside, *target.glob(".*.tmp")]:
        with suppress(OSError):
            if TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
