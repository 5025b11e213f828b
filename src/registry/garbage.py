"""Python's garbage collector, paused where it has nothing to collect."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector while thousands of objects are made, none of which is garbage.

    A full collection over the objects of ``import torch`` takes longer than loading a model; it is put off until the
    block ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
