"""What each process of ``ranks.py`` runs: loading and saving, with what the kernel says of it."""

import ctypes
import gc
import mmap
import os
import re
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import torch
from torch import distributed as dist

import registry
from registry.loading.slots import Slot
from registry.sharding.shares import local_of
from registry.testing.on_ranks import mesh_for

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS = "model.safetensors"


# --- What processes do ------------------------------------------------------------------------------------------------


class Loaded(NamedTuple):
    """Figures of a load in one process."""

    share: int
    """Bytes of the parameters in this process."""
    elements: int
    taken: int
    """Bytes that were cut out of tensors of the file."""
    peak: int
    """Own memory above that before."""
    loaded: float
    """Seconds until the model was there."""
    read: float
    """Seconds until its values had been read once."""
    cpu: float
    """Of these, seconds of the processor."""


def load(directory: str, way: str | None, dtype: str) -> Loaded:
    """Load and read all values once."""
    gc.collect()  # a model that was loaded before
    taken = 0

    def counting(slot: Slot, tensor: torch.Tensor, before: Any = Slot.part_of) -> torch.Tensor:
        nonlocal taken
        part: torch.Tensor = before(slot, tensor)
        taken += part.nbytes
        return part

    with patch.object(Slot, "part_of", counting), own_peak() as peak:
        start, cpu = perf_counter(), process_time()
        model = loaded_model(directory, way, dtype)
        loaded = perf_counter() - start
        held = read_all(model)
        read, cpu = perf_counter() - start, process_time() - cpu
    elements = sum(tensor.numel() for tensor in held)
    return Loaded(sum(one.nbytes for one in held), elements, taken, peak(), loaded, read, cpu)


def loaded_model(directory: str, way: str | None, dtype: str = "float32") -> Any:
    """The model, whole or divided."""
    if way is None:
        return registry.load_model(directory, dtype=dtype)
    return registry.load_model(directory, dtype=dtype, mesh=mesh_for(way), parallel=way)


def read_all(model: torch.nn.Module) -> list[torch.Tensor]:
    """The parameters in this process, each read once."""
    held = [local_of(parameter) for parameter in model.parameters()]
    for tensor in held:
        tensor.sum()
    return held


def save(directory: str, way: str, target: str, format: Any) -> int:
    """Peak of own memory while a model is saved, above that before."""
    gc.collect()
    model = loaded_model(directory, way)
    with own_peak() as peak:
        registry.save(model, target, format=format)
    return peak()  # type: ignore[no-any-return]  # a function of another script


def cold(directory: str, copy: str, way: str) -> dict[str, float]:
    """Load, the second process from a copy of which nothing is in the page cache."""
    mine = Path(copy if dist.get_rank() == 1 else directory) / WEIGHTS
    gc.collect()
    if dist.get_rank() == 1:
        drop(mine)
    dist.barrier()
    before, start = from_disk(), perf_counter()
    model = loaded_model(str(mine.parent), way)
    loaded = perf_counter() - start
    held = read_all(model)
    read = perf_counter() - start
    found = {"share": sum(tensor.nbytes for tensor in held), "disk": from_disk() - before}
    dist.barrier()
    return {**found, "cached": cached(mine), "loaded": loaded, "read": read}


# --- What the kernel says ---------------------------------------------------------------------------------------------


@contextmanager
def own_peak() -> "Iterator[Any]":
    """Gives a function that returns the peak of own memory in the block, above that before it, in bytes."""
    before, most, done = own(), [0], Event()

    def sample() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], own() - before)

    thread = Thread(target=sample)
    thread.start()
    try:
        yield lambda: max(most[0], own() - before)
    finally:
        done.set()
        thread.join()


def own() -> int:
    """Bytes of memory that is no mapped file."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def from_disk() -> int:
    """Bytes that this process made the kernel fetch from disks."""
    found = re.search(r"read_bytes: (\d+)", Path("/proc/self/io").read_text())
    assert found is not None
    return int(found[1])


def drop(path: Path) -> None:
    """Have the kernel forget the pages of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached(path) > 0.01 * path.stat().st_size:
        raise SystemExit(f"The kernel keeps pages of {path}: is it on a disk, and does no process map it?")


def cached(path: Path) -> int:
    """Bytes of a file that are in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        begin = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(mapped)), found
        )
        del begin
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(1 for page in found if page & 1) * mmap.PAGESIZE
