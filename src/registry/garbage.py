"""Python's garbage collector, kept from work that has nothing for it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector, while thousands of objects are made of which none is garbage.

    A full pass of it over all that ``import torch`` leaves takes longer than loading a model; this puts it off until
    there may be something to collect.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
