"""What DCP does: it writes and reads the tensors of all processes, in a group of its own."""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch import distributed as dist
from torch.distributed import checkpoint as _checkpoint
from torch.distributed.device_mesh import init_device_mesh

from registry.distributed.stored import SafeReader
from registry.errors import CorruptWeightsError, ParallelError, RegistryError, SaveError, WeightsMismatchError
from registry.formatting import first_of
from registry.sharding.agreement import Agreement

_dcp: Any = _checkpoint
"""Torch does not declare what this module exports."""


def agreement_of(model: Any) -> Agreement | None:
    """The agreement of the processes that share a model; of all processes, where each has a complete one."""
    processes = getattr(model, "processes", None)
    if processes is not None:
        return processes.agreement  # type: ignore[no-any-return]
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    return Agreement(init_device_mesh("cpu", (dist.get_world_size(),)))


# --- Writing ----------------------------------------------------------------------------------------------------------


def write(tensors: Mapping[str, Tensor], target: Path, agreement: Agreement | None) -> None:
    """Write the tensors of all processes into a new directory.

    Raises:
        SaveError: A process cannot.
    """
    with _quiet(), as_save_errors():
        _dcp.save(dict(tensors), checkpoint_id=target, no_dist=agreement is None, process_group=_group(agreement))


def write_later(tensors: Mapping[str, Tensor], target: Path, agreement: Agreement | None) -> "Future[Any]":
    """The same in another thread; the tensors must be copies."""
    if agreement is None:
        executor = ThreadPoolExecutor(1)
        later = executor.submit(write, tensors, target, None)
        executor.shutdown(wait=False)
        return later
    future: Future[Any] = _dcp.async_save(
        dict(tensors), checkpoint_id=target, process_group=_later_group(agreement), async_stager=_Staged()
    )
    return future


class _Staged:
    """A stager of DCP for tensors that were copied before."""

    should_synchronize_after_execute = False

    def stage(self, state_dict: Any) -> Any:
        """The tensors as they are."""
        return state_dict

    def synchronize_staging(self) -> None:
        """Nothing is to be waited for."""

    def close(self) -> None:
        """Nothing is to be closed."""


def _group(agreement: Agreement | None) -> Any:
    """The process group of a mesh; None for that of all processes.

    Raises:
        ParallelError: The mesh has several dimensions, and other processes are not in it.
    """
    if agreement is None or len(agreement.ranks) == dist.get_world_size():
        return None
    if len(agreement.groups) == 1:
        return agreement.groups[0]
    raise ParallelError(
        f"A checkpoint of {len(agreement.ranks)} of {dist.get_world_size()} processes needs a mesh of one dimension.",
        hint="Make the process group of those processes alone.",
    )


_LATER: dict[int, Any] = {}
"""By the group of all processes, another one for saves that run while training exchanges tensors in the first."""


def _later_group(agreement: Agreement) -> Any:
    """A group for saves in another thread.

    Raises:
        ParallelError: Other processes are not in the mesh: a group is made by all of them.
    """
    if len(agreement.ranks) < dist.get_world_size():
        raise ParallelError(
            f"An asynchronous checkpoint needs all {dist.get_world_size()} processes, not {len(agreement.ranks)}.",
            hint="asynchronous=False needs only those that share the model.",
        )
    key = id(dist.group.WORLD)
    if key not in _LATER:
        _LATER[key] = dist.new_group(backend="gloo")
    return _LATER[key]


# --- Reading ----------------------------------------------------------------------------------------------------------


def description_of(directory: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors in a directory.

    Raises:
        CorruptWeightsError: It is damaged.
        UnsafeWeightsError: Its description asks for what none needs.
    """
    try:
        entries = SafeReader(directory).read_metadata().state_dict_metadata
        return {name: tuple(entry.size) for name, entry in entries.items()}  # type: ignore[union-attr]
    except RegistryError:
        raise
    except (OSError, EOFError, AttributeError, ValueError) as problem:
        raise CorruptWeightsError(f"The checkpoint in {directory} is damaged: {problem}.") from problem


def read(tensors: Mapping[str, Tensor], directory: Path, agreement: Agreement | None) -> None:
    """Read into tensors, which keep their memory.

    Raises:
        CorruptWeightsError: A process cannot.
    """
    try:
        with _quiet():
            _dcp.load(
                dict(tensors),
                storage_reader=SafeReader(directory),
                no_dist=agreement is None,
                process_group=_group(agreement),
            )
    except _dcp.CheckpointException as problem:  # which is not an Exception
        raise CorruptWeightsError(f"The checkpoint in {directory} cannot be read: {_cause(problem)}.") from problem


def check_names(directory: Path, there: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise WeightsMismatchError unless a checkpoint has just the tensors that are wanted, in their shapes."""
    problems = {
        "missing in it": [name for name in wanted if name not in there],
        "unexpected": [name for name in there if name not in wanted],
        "of another shape": [name for name, shape in wanted.items() if there.get(name, shape) != shape],
    }
    lines = [f"{len(names)} {kind}: {first_of(names)}" for kind, names in problems.items() if names]
    if lines:
        opening = f"The checkpoint in {directory} is of another model or optimizer:"
        raise WeightsMismatchError("\n  ".join([opening, *lines]))


# --- Errors and warnings ----------------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Without DCP's warning that there is one process, which is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


@contextmanager
def as_save_errors() -> Iterator[None]:
    """Turn the errors of DCP and the system into SaveError."""
    try:
        yield
    except (SaveError, ParallelError):
        raise
    except (_dcp.CheckpointException, OSError, RuntimeError) as problem:
        raise SaveError(
            f"The checkpoint could not be written: {_cause(problem)}.", hint="The one before still counts."
        ) from problem


def _cause(problem: BaseException) -> str:
    """The first line of what went wrong, in one of the processes."""
    failures = getattr(problem, "failures", None)
    cause = next(iter(failures.values()))[0] if failures else problem
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
