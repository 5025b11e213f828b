"""Tensors in a file that is mapped into memory, not copied."""

import mmap
import os
import weakref
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from registry.errors import CorruptWeightsError
from registry.weights.headers import Header
from registry.weights.tensorflow.table import crc32c, masked

PORTION = 256 * 1024
"""Bytes read at a time: what fits a processor's cache."""


class MappedFile:
    """A file, open as long as a tensor needs it.  Writing to such a tensor changes a copy in memory, not the file.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._handle)
        self._lock = Lock()
        empty = os.fstat(self._handle).st_size == 0
        self._bytes = b"" if empty else mmap.mmap(self._handle, 0, access=mmap.ACCESS_COPY)

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
