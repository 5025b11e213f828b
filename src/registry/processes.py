"""Worker processes that start quickly: copies of one process that has imported what takes seconds."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.context import BaseContext


def worker_context(*modules: str) -> BaseContext:
    """How worker processes are started: as forks of a server that begins to import modules now.

    To fork this process itself is not safe, whose threads would not be in the copies.  Where the system does not fork
    safely, or the program has a server already, each worker imports by itself what it needs.

    Args:
        modules: What the workers need and is slow to import.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with _uninterrupted():
        forkserver.ensure_running()
    return context


def use_environment(environment: Mapping[str, str]) -> None:
    """Take over the environment of the process that starts a worker: the server may be older than a change of it."""
    os.environ.clear()
    os.environ.update(environment)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A block in which processes are started that Ctrl-C does not reach: the first process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
