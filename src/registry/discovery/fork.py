"""A lock that does not outlive its holder: threads are not copied into a forked process, and their locks are."""

import os
from collections.abc import Callable
from threading import RLock
from weakref import WeakSet

PATIENCE = 10.0
"""Seconds for which a fork waits for the holder, which may be importing a plugin: what it holds is then complete."""


class ForkableLock:
    """A reentrant lock that is free in a forked process, unless the thread that forked holds it.

    Args:
        abandoned: Called in the forked process, where the holder did not finish before the fork.
    """

    def __init__(self, abandoned: Callable[[], None]) -> None:
        self._lock = RLock()
        self._abandoned = abandoned
        self._held_for_fork = False
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for the holder, so that no other thread is in the middle of something."""
        self._held_for_fork = self._lock.acquire(timeout=PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Free the lock in the parent."""
        if self._held_for_fork:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Free the lock in the child, which has no thread that could."""
        if self._held_for_fork:
            self._lock.release()
        else:
            self._lock = RLock()
            self._abandoned()


_locks: WeakSet[ForkableLock] = WeakSet()


def _each(method: Callable[[ForkableLock], None]) -> Callable[[], None]:
    def call() -> None:
        for lock in list(_locks):
            method(lock)

    return call


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(
        before=_each(ForkableLock.before_fork),
        after_in_parent=_each(ForkableLock.after_fork_in_parent),
        after_in_child=_each(ForkableLock.after_fork_in_child),
    )
