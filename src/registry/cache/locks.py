"""Locks that save bytes, and on which nothing depends.

``flock`` succeeds for everybody on some network file systems, and fails for everybody on others.  So work continues
without a lock that is not available: two processes then download the same file, and each is right.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import TYPE_CHECKING

from registry.cache.ownership import FILE_MODE
from registry.errors import warn

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger("registry")

PATIENCE = 600.0
"""Seconds to wait for a holder, which may be stopped or on a host that died; then work continues without the lock."""
LOG_EVERY = 10.0
"""Seconds between two log messages while a lock is waited for."""

UNLOCKABLE = (ENOSYS, ENOLCK, EOPNOTSUPP, ENOTSUP, 524)
"""Errors of file systems without locks; 524 is the ENOTSUPP of Linux's NFS, which Python has no name for."""


@contextmanager
def best_effort_lock(path: Path) -> Iterator[None]:
    """Hold a lock if it is available, against other processes and other threads.

    Args:
        path: The lock file, whose directory exists.  It is never removed, or waiters would hold locks on two files.
    """
    from filelock import FileLock  # not needed for what is in the cache

    lock = FileLock(
        path, mode=FILE_MODE
    )  # one object for each call: the same object would let other threads of this process in
    held = _acquire(lock, path)
    try:
        yield
    finally:
        if held:
            lock.release()


def _acquire(lock: "FileLock", path: Path) -> bool:
    """Wait for the lock; False when it is not available."""
    from filelock import Timeout

    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        try:
            lock.acquire(timeout=min(left, LOG_EVERY))
        except Timeout:
            log.info("waiting for another process, which holds %s", path)
        except PermissionError as problem:  # of another user, in a cache that several share
            log.info("%s cannot be locked: %s", path, problem)
            return False
        except (OSError, NotImplementedError) as problem:
            if isinstance(problem, OSError) and problem.errno not in UNLOCKABLE:
                raise
            _warn_once(path.parent, problem)
            return False
        else:
            return True
    log.warning("%s has been held for %.0f s; continuing without it", path, PATIENCE)
    return False


_warned: set[Path] = set()


def _warn_once(directory: Path, problem: Exception) -> None:
    if directory not in _warned:
        _warned.add(directory)
        warn(
            f"{directory} cannot be locked ({problem}); processes that start together may each download the same file."
        )
