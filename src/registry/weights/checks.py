"""Which checksums this process compares: all of them, unless others on the machine load the same files with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHARE: ContextVar[tuple[int, int]] = ContextVar("share", default=(0, 1))


@contextmanager
def shared_among(number: int, processes: int) -> Iterator[None]:
    """Compare each checksum in one of several processes, which raise the error of one together.

    Args:
        number: The number of this process among them.
        processes: How many there are.
    """
    token = _SHARE.set((number, processes))
    try:
        yield
    finally:
        _SHARE.reset(token)


def is_mine(number: int) -> bool:
    """Whether this process compares the checksum of this number."""
    own, processes = _SHARE.get()
    return number % processes == own
