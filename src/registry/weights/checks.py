"""What this process reads of files: all, unless others load the same files with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHARE: ContextVar[tuple[int, int] | None] = ContextVar("share", default=None)


@contextmanager
def shared_among(number: int, processes: int) -> Iterator[None]:
    """Read only a share of tensors, and compare each checksum in one process of this machine.

    The processes raise the error of one together.

    Args:
        number: The number of this process among those of this machine.
        processes: How many these are.
    """
    token = _SHARE.set((number, processes))
    try:
        yield
    finally:
        _SHARE.reset(token)


def is_mine(number: int) -> bool:
    """Whether this process, of those on its machine, compares the checksum of this number."""
    own, processes = _SHARE.get() or (0, 1)
    return number % processes == own


def is_divided() -> bool:
    """Whether this process reads only a share of each tensor."""
    return _SHARE.get() is not None
