"""Python's garbage collector, kept away from what is not garbage."""

import atexit
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


@contextmanager
def gc_spared() -> Iterator[None]:
    """Pause the garbage collector while modules are imported, and count all objects as old afterwards.

    What modules consist of stays.  The next collection of young objects would walk all of it, which takes 6 of the
    80 ms in which a tokenizer is imported and loaded; now only collections of all objects do.
    """
    with gc_paused():
        yield
        if not gc.get_freeze_count():  # else an application keeps objects frozen, which would thaw with these
            gc.freeze()
            gc.unfreeze()


def skip_last_collections() -> None:
    """Leave to the system what this process has when it ends, instead of collecting it.

    For programs alone, not for libraries: after ``import torch`` a process ends a quarter of a second earlier, and half
    a second with its compiler.
    """
    atexit.register(gc.freeze)
