"""Errors of the disk as errors of the cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from pathlib import Path

from registry.errors import CacheError, CacheFullError, CacheReadOnlyError, RegistryError

ELSEWHERE = "cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE"


@contextmanager
def disk_errors_as_cache_errors(directory: Path) -> Iterator[None]:
    """Raise CacheReadOnlyError, CacheFullError, or another CacheError for an OSError inside of the ``with`` block."""
    try:
        yield
    except RegistryError:
        raise
    except OSError as problem:
        raise _as_cache_error(problem, directory) from problem


def _as_cache_error(problem: OSError, directory: Path) -> CacheError:
    if problem.errno in (EROFS, EACCES, EPERM):
        error: CacheError = CacheReadOnlyError(
            f"the cache {directory} cannot be written: {problem.strerror}.",
            hint=f"Choose another directory: {ELSEWHERE}.",
        )
    elif problem.errno in (ENOSPC, EDQUOT, EFBIG):
        error = CacheFullError(
            f"the cache {directory} has no room: {problem.strerror}.",
            hint=f"Free some space (`registry cache list` shows models, `registry rm NAME` removes one), or choose "
            f"another directory: {ELSEWHERE}.",
        )
    else:
        error = CacheError(
            f"the cache {directory} cannot be used: {problem}.", hint=f"Choose another directory: {ELSEWHERE}."
        )
    error.errno = problem.errno
    return error
