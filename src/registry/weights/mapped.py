"""Tensors in a file that is mapped into memory, not copied."""

import ctypes
import mmap
import os
import sys
import weakref
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from registry.errors import CorruptWeightsError
from registry.weights.checks import is_divided
from registry.weights.headers import Header

PORTION = 256 * 1024
"""Bytes read at a time: what fits a processor's cache."""
AHEAD = 128 * 1024
"""Bytes that a kernel fetches at once, if it is asked to: what Linux reads ahead by default."""
RANDOM, WILL_NEED = (getattr(mmap, f"MADV_{advice}", None) for advice in ("RANDOM", "WILLNEED"))
"""Advice to a kernel; None where it takes none."""
CACHESTAT = 451
"""The number of a system call of Linux, since 6.5, that counts the pages of a file in memory."""


class MappedFile:
    """A file, open as long as a tensor needs it.  Writing to such a tensor changes a copy in memory, not the file.

    Args:
        path: The file.
        handle: A descriptor of it; None to open it.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, handle: int | None = None) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)) if handle is None else os.dup(handle)
        weakref.finalize(self, os.close, self._handle)
        self._lock = Lock()
        empty = os.fstat(self._handle).st_size == 0
        self._bytes = b"" if empty else mmap.mmap(self._handle, 0, access=mmap.ACCESS_COPY)
        if is_divided() and isinstance(self._bytes, mmap.mmap) and RANDOM is not None:
            self._bytes.madvise(RANDOM)  # what is needed, ``fetch`` asks for

    def check(self, offset: int, nbytes: int, expected: int, name: str) -> None:
        """Compare a checksum.  The bytes are not read through the map, and so take no memory until the tensor is used.

        Args:
            offset: Where the bytes of the tensor begin.
            nbytes: How many there are.
            expected: Their masked CRC-32C.
            name: The tensor, for the error.

        Raises:
            CorruptWeightsError: The checksum is another one, or the file ends before.
        """
        from registry.weights.tensorflow.table import crc32c, masked  # only files of TensorFlow have such sums

        crc, end = 0, offset + nbytes
        with self._lock:
            os.lseek(self._handle, offset, os.SEEK_SET)
            while offset < end and (portion := os.read(self._handle, min(PORTION, end - offset))):
                crc = crc32c(portion, crc)
                offset += len(portion)
        if offset != end or masked(crc) != expected:
            raise CorruptWeightsError(f"{self.path} is damaged: the checksum of the tensor {name!r} is wrong.")

    def tensor(self, offset: int, header: Header) -> Tensor:
        """The tensor that begins at ``offset``; a copy where that is not a multiple of the size of an element."""
        dtype: torch.dtype = getattr(torch, header.dtype)
        if not header.nbytes:
            return torch.empty(header.shape, dtype=dtype)
        count = header.nbytes // dtype.itemsize
        if offset % dtype.itemsize == 0:
            return torch.frombuffer(self._bytes, dtype=dtype, count=count, offset=offset).view(header.shape)
        copied = bytearray(self._bytes[offset : offset + header.nbytes])
        return torch.frombuffer(copied, dtype=dtype).view(header.shape)


def is_cached(path: Path) -> bool:
    """Whether all of a file is in memory; False as well where the system does not say."""
    if sys.platform != "linux":
        return False
    whole = (ctypes.c_uint64 * 2)(0, 0)  # offset and length, of which 0 is to the end
    counts = (ctypes.c_uint64 * 5)()  # the first is of cached pages
    with path.open("rb") as file:
        failed = ctypes.CDLL(None).syscall(CACHESTAT, file.fileno(), whole, counts, 0)
        return not failed and counts[0] * mmap.PAGESIZE >= os.fstat(file.fileno()).st_size


def fetch(part: Tensor) -> None:
    """Have the kernel fetch the bytes of a part of a mapped tensor, and none around it.

    A process that has a model to itself needs all of a file, and the kernel reads ahead.  One that shares the model
    needs a part here and a part there, and reading ahead would fetch most of the file.

    Args:
        part: Elements that are needed; nothing is done for a tensor that is not mapped.
    """
    if WILL_NEED is None or not part.numel():
        return
    last = sum((size - 1) * stride for size, stride in zip(part.shape, part.stride(), strict=True))
    begin = part.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
    end = part.data_ptr() + (last + 1) * part.itemsize
    advise = ctypes.CDLL(None).madvise
    for start in range(begin, end, AHEAD):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(min(AHEAD, end - start)), WILL_NEED)
