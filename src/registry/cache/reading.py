"""Reading files that other processes, users or hosts may remove or replace meanwhile."""

import os
import stat
import time
from collections.abc import Callable
from errno import ESTALE
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 3
"""Looks at a file that a network file system calls stale; it may need moments to see what another host did."""


def status_of(path: Path) -> os.stat_result | None:
    """The ``lstat`` of a file; None where there is none."""
    return patiently(path.lstat)


def read_small(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a regular file; none where it cannot be read, or is not a regular file."""

    def read() -> bytes:
        with _open(path) as file:
            return file.read(limit) if _is_regular(file) else b""

    return patiently(read) or b""


def sha256_of_regular(path: Path, size: int) -> str | None:
    """The sha256 of a regular file of this size; None for anything else."""
    try:
        with _open(path) as file:
            if _is_regular(file) and os.fstat(file.fileno()).st_size == size:
                return file_digest(file, "sha256").hexdigest()
    except OSError:
        pass
    return None


def patiently(look: Callable[[], T]) -> T | None:
    """The result of ``look``, which is called again after ESTALE; None after any other OSError."""
    for _ in range(ATTEMPTS):
        try:
            return look()
        except OSError as problem:
            if problem.errno != ESTALE:
                return None
        time.sleep(0.05)
    return None


def _open(path: Path) -> BufferedReader:
    """Open a file that is not a link; a pipe in its place does not block."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "rb")


def _is_regular(file: BufferedReader) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
