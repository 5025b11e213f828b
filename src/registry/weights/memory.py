"""Memory for tensors that are copied out of files."""

import mmap
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

LARGE_PAGE = 2 * 1024 * 1024
"""Bytes of a large page, of which a kernel clears and maps one in the time of some small ones."""
LARGE_PAGES = getattr(mmap, "MADV_HUGEPAGE", None)
"""Advice to a kernel to use large pages; None where it has none."""


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor without values in memory of its own: of large pages, where it has the size of one."""
    nbytes = prod(shape) * dtype.itemsize
    if LARGE_PAGES is None or nbytes < LARGE_PAGE:
        return torch.empty(shape, dtype=dtype)
    try:
        memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(LARGE_PAGES)
    except OSError:  # there is not so much memory, or the kernel was built without large pages
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype).view(*shape)


def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of a tensor, contiguous and of this type, in memory that ``empty`` makes."""
    return empty(tensor.shape, dtype).copy_(tensor)
