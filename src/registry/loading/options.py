"""Options of filling a model with weights, checked before anything is read."""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import field, frozen

from registry.config import Config
from registry.errors import UnknownOptionError, UnsupportedError, did_you_mean
from registry.weights.checks import shared_among
from registry.weights.matching import Patterns

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry.sharding.meshes import ProcessMesh


DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Types that are suggested."""


def dtype_of(value: object) -> "torch.dtype | None":
    """The type of parameters, from torch's object or its name (``"bfloat16"``).

    Raises:
        UnknownOptionError: It is not a floating-point type.
    """
    if value is None:
        return None
    import torch  # not before a model is loaded

    found = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        near = did_you_mean(value, DTYPES) if isinstance(value, str) else ""
        raise UnknownOptionError(
            f"dtype={value!r} is not a floating-point type of torch.{near}",
            hint='Parameters are float32 unless dtype= names another type, such as "bfloat16" or torch.float16.',
        )
    return found


def device_of(value: object) -> "torch.device | None":
    """The device of parameters, from torch's object, its name (``"cuda:0"``) or its number.

    Raises:
        UnknownOptionError: It is not a device.
        UnsupportedError: The device is not there.
    """
    if value is None:
        return None
    import torch  # not before a model is loaded

    try:
        device = value if isinstance(value, torch.device) else torch.device(value)  # type: ignore[call-overload]
    except (RuntimeError, TypeError, ValueError) as problem:
        raise UnknownOptionError(
            f"device={value!r} is not a device of torch.",
            hint='A device is "cpu", "cuda", "cuda:1", or a torch.device.',
        ) from problem
    assert isinstance(device, torch.device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        reason = str(problem).strip().partition("\n")[0].rstrip(".")
        raise UnsupportedError(
            f"device={str(device)!r} is not available to torch {torch.__version__}: {reason}.",
            hint="Leave device= out for the CPU.",
        ) from problem
    return device


def _tuple(patterns: Patterns) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


@contextmanager
def sharing(name: str | os.PathLike[str], mesh: Any, parallel: Any) -> "Iterator[ProcessMesh | None]":
    """A block of loading that all processes of a mesh run; where one raises an error in it, all do.

    Args:
        name: What is loaded, as the caller named it.
        mesh: The mesh; None for a model that this process has for itself.
        parallel: How the processes share the model.

    Yields:
        The processes; None without a mesh.

    Raises:
        UnknownOptionError: ``parallel`` is not a way to share a model, or only one of the two is given.
        ParallelError: The mesh does not have the dimensions that are needed, or the processes do not do the same.
    """
    in_group = _is_in_group()
    if in_group:
        from registry.sharding.arrival import note_alone, raise_what_others_found  # for programs of several processes

        raise_what_others_found()
    if mesh is None and parallel is None:
        yield None
        if in_group:
            note_alone(str(name))
        return

    from registry.sharding.meshes import ProcessMesh  # which imports torch.distributed

    processes = ProcessMesh.of(mesh, parallel, str(name))
    with processes.agreement.together(), shared_among(*processes.on_this_machine()):
        yield processes


def _is_in_group() -> bool:
    """Whether there is a process group of torch.distributed, which is not imported for it."""
    dist: Any = sys.modules.get("torch.distributed")
    return dist is not None and dist.is_available() and dist.is_initialized()


@frozen(kw_only=True, eq=False, repr=False)
class LoadOptions:
    """How weights go into a model, as opposed to what is loaded and where it comes from."""

    dtype: "torch.dtype | None" = field(default=None, converter=dtype_of)
    """Type of the parameters; None for float32, where the class names no other."""
    device: "torch.device | None" = field(default=None, converter=device_of)
    """Device of the parameters; None for the CPU."""
    allow_missing: tuple[str, ...] = field(default=(), converter=_tuple)
    """Patterns (``*`` and ``?``) of parameters which the file may lack; they are newly initialized."""
    allow_unexpected: tuple[str, ...] = field(default=(), converter=_tuple)
    """Patterns of names in the file which the model may lack; they are dropped."""
    formats: Collection[str] | None = None
    """The only formats of weights to look for; None for all."""
    allow_new: bool = True
    """Whether whole parts may be missing in the file: only where the caller chose the class, not the checkpoint."""
    processes: "ProcessMesh | None" = None
    """The processes that divide the model; None for one that is complete in this process."""

    def __attrs_post_init__(self) -> None:
        if self.processes is not None:
            object.__setattr__(self, "device", self.processes.device(self.device))


class Alternatives(NamedTuple):
    """How else a model could be built; asked only when weights do not fit."""

    config: Config
    """The model's configuration."""
    remake: "Callable[[Mapping[str, int]], nn.Module]"
    """The model with other values for some options; raises what constructors raise."""
    tasks: Callable[[], list[str]]
    """Tasks of the architecture whose classes miss nothing in the file, the one that drops least first."""
