"""Files whose bytes become tensors where they lie: mapped, not copied, and read once to compare checksums."""

import mmap
import os
import weakref
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from registry.errors import CorruptWeightsError
from registry.weights.headers import Header
from registry.weights.tensorflow.table import checksum, masked

PORTION = 256 * 1024
"""Bytes read at a time: what fits a processor's cache."""


class MappedFile:
    """A file, open as long as a tensor needs it; whoever writes to such a tensor changes his copy, not the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._handle)
        self._lock = Lock()
        empty = os.fstat(self._handle).st_size == 0
        self._bytes = b"" if empty else mmap.mmap(self._handle, 0, access=mmap.ACCESS_COPY)

    def check(self, offset: int, nbytes: int, expected: int, name: str) -> None:
        """Raise CorruptWeightsError unless the bytes have this masked CRC-32C.

        They are read, not looked at through the map, and so take no memory until the tensor is used.
        """
        found, end = 0, offset + nbytes
        with self._lock:
            os.lseek(self._handle, offset, os.SEEK_SET)
            while offset < end and (portion := os.read(self._handle, min(PORTION, end - offset))):
                found = checksum(portion, found)
                offset += len(portion)
        if offset != end or masked(found) != expected:
            raise CorruptWeightsError(f"{self.path} is damaged: the checksum of the tensor {name!r} is wrong.")

    def tensor(self, offset: int, header: Header) -> Tensor:
        """The tensor at ``offset``; a copy where numbers do not stand at a multiple of their size."""
        dtype: torch.dtype = getattr(torch, header.dtype)
        if not header.nbytes:
            return torch.empty(header.shape, dtype=dtype)
        count = header.nbytes // dtype.itemsize
        if offset % dtype.itemsize == 0:
            return torch.frombuffer(self._bytes, dtype=dtype, count=count, offset=offset).view(header.shape)
        copied = bytearray(self._bytes[offset : offset + header.nbytes])
        return torch.frombuffer(copied, dtype=dtype).view(header.shape)
