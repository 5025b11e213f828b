"""Layers of which each process computes a part: the classes that tensor parallelism gives to the modules of a model.

A divided module keeps its name, its parameters and its place among its bases: its class is derived from the one that it
had.  Its parameters are DTensors, which optimizers, clipping and checkpoints see; its own code, and all code that reads
``module.weight``, sees the plain tensor of this process.  While FSDP holds a parameter, it is shown as it is.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import ParallelError
from registry.nn.inputs import can_branch_on
from registry.nn.linear import Conv1D
from registry.sharding.collectives import enter, gather, leave
from registry.sharding.plans import PlanRule
from registry.sharding.shares import FUSED, fused_axis, portion

MESH = "tensor_mesh"
"""The attribute of a divided module that holds the mesh, of one dimension, over which its parameters are divided."""


class Orientation(NamedTuple):
    """How a kind of linear layer keeps its weight."""

    out: int
    """The axis of the output features."""
    into: int
    """The axis of the input features."""
    product: Callable[[Tensor, Tensor], Tensor]
    """The product of rows with the weight."""


ORIENTATIONS: Mapping[Callable[..., Tensor], Orientation] = MappingProxyType(
    {
        nn.Linear.forward: Orientation(0, 1, F.linear),
        Conv1D.forward: Orientation(1, 0, torch.matmul),
    }
)
"""By the method ``forward``: a class that has another one computes something else."""
OF_EMBEDDING = Orientation(1, 0, F.embedding)
"""An embedding, whose features can be divided: a number for each head, for example."""


# --- What is divided --------------------------------------------------------------------------------------------------


class Division(NamedTuple):
    """How one parameter is divided."""

    axis: int | None
    """Of the published tensor; None for a parameter that every process has complete."""
    parts: int = 1
    """Sets of features on that axis, each divided for itself."""


COMPLETE = Division(None)


def divisions(module: nn.Module, rule: PlanRule | None, name: str) -> dict[str, Division]:
    """How the own parameters of a module are divided, by their keys.

    Args:
        module: The module, not divided yet.
        rule: The plan's rule for it, if there is one.
        name: Its name, for errors.

    Raises:
        ParallelError: The rule is for another kind of module.
    """
    keys = [key for key, parameter in module._parameters.items() if parameter is not None]
    if rule is None:
        return dict.fromkeys(keys, COMPLETE)
    kind = _kind_of(module, rule, name)
    if kind is None:  # rows of an embedding, or of a module's own parameters
        return dict.fromkeys(keys, Division(0))
    if rule.word == "rowwise":
        return {key: Division(kind.into) if key == "weight" else COMPLETE for key in keys}
    return {key: Division(kind.out if key == "weight" else 0, rule.parts) for key in keys}


def _kind_of(module: nn.Module, rule: PlanRule, name: str) -> Orientation | None:
    forward = type(module).forward
    if rule.word == "heads":
        if any(parameter is not None for parameter in module._parameters.values()):
            return None
        raise ParallelError(f"The parallel plan says {rule}, and {name!r} has no parameters of its own.")
    plain = isinstance(module, nn.Embedding) and forward is nn.Embedding.forward
    plain = plain and module.max_norm is None and not module.sparse and not module.scale_grad_by_freq
    if rule.word == "vocabulary":
        if plain:
            return None
        raise ParallelError(f"The parallel plan says {rule}, and {name!r} is not a plain nn.Embedding.")
    if rule.word == "colwise" and plain:
        return OF_EMBEDDING
    if forward in ORIENTATIONS:
        return ORIENTATIONS[forward]
    raise ParallelError(
        f"The parallel plan says {rule}, and {name!r} is of the class {type(module).__name__}, no nn.Linear or Conv1D.",
        hint="A class that overrides forward computes something else, of which the plan says nothing.",
    )


# --- Divided classes --------------------------------------------------------------------------------------------------


def become_divided(module: nn.Module, rule: PlanRule | None, mesh: DeviceMesh, fused: Mapping[str, int]) -> None:
    """Give a module, whose parameters are DTensors, the class that computes with the part of this process."""
    keys = tuple(key for key, parameter in module._parameters.items() if parameter is not None)
    vars(module)[MESH] = mesh
    vars(module)[FUSED] = dict(fused)
    cls: Any = type(module)
    module.__class__ = divided_class(cls, None if rule is None else rule.word, keys)


@cache
def divided_class(cls: Any, word: str | None, keys: tuple[str, ...]) -> Any:
    """The class derived from ``cls`` whose parameters show what this process has of them."""
    members: dict[str, Any] = {key: property(partial(_shown, key)) for key in keys}
    if word in _FORWARDS:
        members["forward"] = _FORWARDS[word](cls.forward)
    return type(cls.__name__, (cls,), {**members, "__module__": __name__, "__doc__": cls.__doc__})


def _shown(key: str, module: nn.Module) -> Tensor | None:
    parameter: Any = module._parameters[key]
    if getattr(parameter, "device_mesh", None) != vars(module)[MESH]:  # held by FSDP, or replaced by a plain one
        return parameter  # type: ignore[no-any-return]
    local: Tensor = parameter.to_local()
    fused = fused_axis(module, key)
    return local if fused is None else local.flatten(fused, fused + 1)


def _group(module: nn.Module) -> dist.ProcessGroup:
    mesh: DeviceMesh = vars(module)[MESH]
    return mesh.get_group()


def _colwise(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def divided(self: Any, x: Tensor) -> Tensor:
        return forward(self, enter(x, _group(self)))

    return divided


def _scores(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def divided(self: Any, x: Tensor) -> Tensor:
        return gather(forward(self, enter(x, _group(self))), self.out_features, _group(self))

    return divided


def _rowwise(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    product = ORIENTATIONS[forward].product

    def divided(self: Any, x: Tensor) -> Tensor:
        total, bias = leave(product(x, self.weight), _group(self)), self.bias
        return total if bias is None else total + bias.to(total.dtype)

    return divided


def _vocabulary(_forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def divided(self: Any, ids: Tensor) -> Tensor:
        if can_branch_on(ids) and ids.numel() and not 0 <= ids.min() <= ids.max() < self.num_embeddings:
            raise IndexError("index out of range in self")  # what torch raises on a CPU
        weight, group = self.weight, _group(self)
        start, stop = portion(0, self.num_embeddings, dist.get_rank(group), dist.get_world_size(group))
        outside = (ids < start) | (ids >= stop)
        padding = self.padding_idx
        padding = padding - start if padding is not None and start <= padding < stop else None
        rows = F.embedding((ids - start).masked_fill(outside, 0), weight, padding)
        return leave(rows.masked_fill(outside[..., None], 0.0), group)

    return divided


_FORWARDS: Mapping[str | None, Callable[[Callable[..., Tensor]], Callable[..., Tensor]]] = {
    "colwise": _colwise,
    "scores": _scores,
    "rowwise": _rowwise,
    "vocabulary": _vocabulary,
}
"""What a layer computes under a rule; modules under the other rules compute what they did."""
