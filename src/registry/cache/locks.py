"""Locks that save bytes, and on which nothing depends.

``flock`` succeeds for everybody on some network file systems, and fails for everybody on others.  So a lock that cannot
be had is done without: two then download the same file, and each is right.
"""

import logging
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from registry.errors import RegistryWarning

if TYPE_CHECKING:
    from filelock import FileLock

log = logging.getLogger("registry")

PATIENCE = 600.0
"""Seconds to wait for a holder, who may be stopped or on a host that died; then we go on without the lock."""
SAY_EVERY = 10.0
"""Seconds between two lines of the log that say what is waited for."""

UNLOCKABLE = (ENOSYS, ENOLCK, EOPNOTSUPP, ENOTSUP, 524)
"""Errors of file systems without locks; 524 is the ENOTSUPP of Linux's NFS, which Python has no name for."""

_threads: dict[str, Lock] = defaultdict(Lock)
"""One lock for each path among the threads of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)  # their holders do not exist in the child


@contextmanager
def advisory(path: Path) -> Iterator[None]:
    """Hold the lock ``path`` if it can be had; its folder exists.  The file stays, or waiters would part ways."""
    from filelock import FileLock  # not needed for what is in the cache

    deadline = time.monotonic() + PATIENCE
    within = _threads[str(path)]
    threads = _wait(lambda seconds: within.acquire(timeout=seconds), path, deadline)
    lock = FileLock(path)
    try:
        held = _wait(lambda seconds: _acquire(lock, seconds), path, deadline)
        try:
            yield
        finally:
            if held:
                lock.release()
    finally:
        if threads:
            within.release()


def _wait(acquire: Callable[[float], bool], path: Path, deadline: float) -> bool:
    """Try until the deadline; whether the lock is held then."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            if acquire(min(left, SAY_EVERY)):
                return True
        except (OSError, NotImplementedError) as problem:
            if isinstance(problem, OSError) and problem.errno not in UNLOCKABLE:
                raise
            _warn_once(path.parent, problem)
            return False
        log.info("waiting for another process, which holds %s", path)
    log.warning("%s has been held for %.0f s; going on without it", path, PATIENCE)
    return False


def _acquire(lock: "FileLock", seconds: float) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True


_warned: set[Path] = set()


def _warn_once(folder: Path, problem: Exception) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(
            f"{folder} cannot be locked ({problem}); processes that start together may each download the same file.",
            RegistryWarning,
            stacklevel=2,
        )
