"""Files and directories that are old or new, and never torn.

The bytes reach the disk before the name does: a temporary next to the target, fsync, rename, fsync of the directory.  A
process that is killed leaves a temporary.  Temporary directories are locked by the process that fills them, so that
``remove_dead`` removes them as soon as it is gone; temporary files, and all where locks do not work, a day later.
"""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from registry.errors import RegistryError, SaveError
from registry.files.paths import list_directory

Writer: TypeAlias = Callable[[Path], None]
"""Writes one file to the path it is given."""

PATIENCE = 1.0
"""Seconds for which a rename is tried again: virus scanners and indexers hold files of Windows open for moments."""
STALE_AFTER = 24 * 60 * 60
"""Seconds after which a temporary belongs to no living process; clocks of other hosts may differ by less."""
TEMPORARY = re.compile(r"\..{1,100}\.[0-9a-f]{32}\.tmp")
"""Names that ``temporary_path`` gives."""
STAGING = "saving"
"""In the names of staging directories; see ``journal``."""


def content_writer(content: str | bytes) -> Writer:
    """A writer of bytes, or of text in UTF-8 with line ends as they stand."""
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
    except UnicodeEncodeError as problem:
        raise SaveError(
            f"A text contains the lone surrogate {content[problem.start]!r}, which UTF-8 cannot represent."
        ) from problem

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


# --- Files ------------------------------------------------------------------------------------------------------------


def replace_file(target: Path, writer: Writer, *, most: int = 0o777) -> None:
    """Write the file ``target``, whose directory exists; an existing file is replaced and keeps its mode.

    Args:
        target: The file.
        writer: What writes it.
        most: The mode that it has at most.

    Raises:
        OSError: The disk refused; the old file is then intact.
    """
    new = temporary_path(target)
    try:
        write_new(new, writer, mode_of=target, most=most)
        sync_file(new)
        rename(new, target)
    finally:
        new.unlink(missing_ok=True)
    sync_directory(target.parent)


def temporary_path(target: Path) -> Path:
    """A path in the directory of ``target`` that nobody else uses."""
    return target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.tmp")


def is_staging(name: str) -> bool:
    """Whether a directory of this name is a staging directory."""
    return name.startswith(f".{STAGING}.") and TEMPORARY.fullmatch(name) is not None


def write_new(path: Path, writer: Writer, *, mode_of: Path | None = None, most: int = 0o777) -> None:
    """Write a new file; ``sync_file`` brings it to the disk.

    Args:
        path: The file, which must not exist.
        writer: What writes it.
        mode_of: The file whose mode it gets, if that exists; else the mode follows the umask.
        most: The mode that it has at most.

    Raises:
        OSError: The disk refused, whatever the writer made of that.
    """
    path.touch(exist_ok=False)
    mode = (mode_of if mode_of is not None and mode_of.exists() else path).stat().st_mode & most
    with _disk_errors_as_os_errors():
        writer(path)
    path.chmod(mode)  # safetensors replaces the file by one of mode 0600


def sync_file(path: Path) -> None:
    """Bring the bytes of a file to the disk.  Raises OSError."""
    with path.open("rb" if os.name == "posix" else "r+b") as file:  # Windows syncs only what may be written
        os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Rename a synced file over ``target``; ``sync_directory`` makes that last."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _disk_errors_as_os_errors() -> Iterator[None]:
    """Restore the numbers of errors that libraries raise when the disk takes no more."""
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


# --- Directories ------------------------------------------------------------------------------------------------------


def write_directory(target: Path, fill: Writer) -> None:
    """Make the directory ``target``, which appears complete or not at all; its parent exists.

    Args:
        target: The directory, which must not exist, or be empty.
        fill: Writes the files into the empty directory it is given; what it raises comes through.

    Raises:
        FileExistsError: Another process made the directory meanwhile.
        OSError: The disk refused.
    """
    with locked_new_directory(temporary_path(target)) as new:
        try:
            fill(new)
            _sync_tree(new)
            _rename_directory(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    sync_directory(target.parent)


@contextmanager
def locked_new_directory(path: Path) -> Iterator[Path]:
    """Make a temporary directory, and hold its lock meanwhile: ``remove_dead`` leaves it alone.  Raises OSError."""
    with ExitStack() as stack:
        while True:
            path.mkdir()
            stack.enter_context(locked(path))
            if path.exists():  # else it was removed before it was locked
                break
        yield path


def sync_directory(directory: Path) -> None:
    """Make renames in a directory last; some file systems, and Windows, cannot do it."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_tree(directory: Path) -> None:
    for path in (*directory.rglob("*"), directory):
        if path.is_dir():
            sync_directory(path)
        elif os.name == "posix" or os.access(path, os.W_OK):
            sync_file(path)


def _rename_directory(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as problem:
        if target.is_dir() and any(target.iterdir()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from problem
        raise


# --- After a kill -----------------------------------------------------------------------------------------------------


def temporaries_of(directory: Path) -> list[Path]:
    """Temporaries of writing ``directory``: those in it, and those next to it that were to become it."""
    siblings = f".{directory.name[:100]}."
    return [
        path
        for parent, start in ((directory, "."), (directory.parent, siblings))
        for path in list_directory(parent)
        if path.name.startswith(start) and TEMPORARY.fullmatch(path.name)
    ]


def remove_dead(paths: Iterable[Path]) -> None:
    """Remove temporaries of processes that are gone, as far as they can be removed.

    Directories are told by their lock.  Files have none, and some file systems neither: there, a day decides.
    """
    for path in paths:
        with suppress(OSError), ExitStack() as stack:
            directory = path.is_dir() and not path.is_symlink()
            held = stack.enter_context(locked(path, patience=0)) if directory else None
            if held:
                shutil.rmtree(path)
            elif held is None:
                remove_stale([path])


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove those files and directories that are older than a day.  Raises OSError."""
    for path in paths:
        with suppress(FileNotFoundError):  # another process was faster
            if is_stale(path):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def is_stale(path: Path) -> bool:
    """Whether a file or directory is older than a day.  Raises FileNotFoundError, and other OSError."""
    return time.time() - path.lstat().st_mtime > STALE_AFTER


# --- Locks of directories ---------------------------------------------------------------------------------------------


@contextmanager
def locked(directory: Path, *, shared: bool = False, patience: float | None = None) -> Iterator[bool | None]:
    """Hold the lock of a directory, which ends with the process at the latest.

    Args:
        directory: The directory.
        shared: Whether others may hold it too, if they share it as well.
        patience: Seconds to wait for other holders; None for any time.

    Yields:
        True with the lock; False where another has it; None where locks do not work.
    """
    with ExitStack() as stack:
        try:
            import fcntl  # there is none on Windows, which has no handles of directories either

            handle = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, handle)
            flags = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            if patience is None:
                fcntl.flock(handle, flags)
            held = patience is None or _within(patience, lambda: fcntl.flock(handle, flags | fcntl.LOCK_NB))
            stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a fork may have the handle as well
        except (ImportError, OSError):
            held = None
        yield held


def _within(patience: float, attempt: Callable[[], None]) -> bool:
    """Whether an attempt succeeds in so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            attempt()
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True
