"""Where a model keeps its parameters and buffers, and how they are replaced."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from registry.sharding.shares import Share, fused_axis, is_divided, parameter_like, share_of
from registry.weights.matching import Pair
from registry.weights.names.lazy import Chain, LazyTensor, Value

FLOATS = frozenset([torch.float16, torch.bfloat16, torch.float32, torch.float64])
"""Types that are converted into each other."""

Values: TypeAlias = list[tuple[Pair, Tensor]]
"""Tensors with the names in a model that they are for."""


def type_of(tensor: Tensor, wanted: torch.dtype | None = None) -> torch.dtype:
    """The type of a tensor in a loaded model: the one that is wanted, else the one that its constructor gave it.

    ``torch.set_default_dtype`` is of models that are constructed: loaded ones are float32 wherever their class names no
    type.
    """
    if wanted is not None and tensor.dtype in FLOATS:
        return wanted
    return torch.float32 if tensor.dtype is torch.get_default_dtype() else tensor.dtype


class Slot(NamedTuple):
    """A module, and the attribute under which it keeps a parameter or a buffer."""

    module: nn.Module
    key: str
    tensor: Tensor
    share: Share | None = None
    """What this process has of a tensor that is divided; None for a tensor that is not."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor in files."""
        return tuple(self.tensor.shape) if self.share is None else self.share.shape

    def part_of(self, value: Value) -> Tensor:
        """What this process needs of a tensor in a file."""
        if not isinstance(value, Tensor):
            return self._lazily(value).read()
        if self.share is None:
            return value
        part: Tensor = self.share.of(value)
        return part

    def mapped(self, value: Value) -> Iterator[Tensor]:
        """Views of the mapped tensors, each no larger than the range that holds what this process needs of it."""
        if not isinstance(value, Tensor):
            yield from self._lazily(value).leaves()
        else:
            yield value if self.share is None else self.share.around(value)

    def _lazily(self, value: LazyTensor) -> LazyTensor:
        for axis, ranges in enumerate(() if self.share is None else self.share.ranges):
            parts = [value.narrow(axis, start, stop - start) for start, stop in ranges]
            value = parts[0] if len(parts) == 1 else Chain(parts, axis)
        return value


def slots_of(model: nn.Module) -> dict[str, Slot]:
    """The slots of a model's state dict, by name; a shared parameter has one under each of its names."""
    return {
        f"{path}.{key}" if path else key: Slot(module, key, tensor, _share_of(module, key, tensor))
        for path, module in model.named_modules(remove_duplicate=False)
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]
        if tensor is not None and key not in module._non_persistent_buffers_set
    }


def _share_of(module: nn.Module, key: str, tensor: Tensor) -> Share | None:
    return share_of(tensor, fused_axis(module, key)) if is_divided(tensor) else None


def shared_names(slots: Mapping[str, Slot]) -> list[list[str]]:
    """Groups of names under which the model has one and the same parameter."""
    groups = defaultdict(list)
    for name, slot in slots.items():
        groups[id(slot.tensor)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def share_again(model: nn.Module, groups: Iterable[list[str]]) -> None:
    """Make the parameters under the names of each group one and the same, where they are not any more."""
    slots = slots_of(model)
    for first, *others in groups:
        for slot in map(slots.__getitem__, others):
            if slot.tensor is not slots[first].tensor:
                setattr(slot.module, slot.key, slots[first].tensor)


def assign(values: Values, slots: Mapping[str, Slot]) -> None:
    """Put each tensor into all its slots, as one parameter with the attributes of the previous one."""
    for pair, value in values:
        before, share, after = slots[pair.names[0]].tensor, slots[pair.names[0]].share, value
        if isinstance(before, nn.Parameter):
            made = nn.Parameter if share is None else partial(parameter_like, like=before)
            after = made(value, requires_grad=before.requires_grad)
            vars(after).update(vars(before))
        for slot in map(slots.__getitem__, pair.ours.values()):
            parameters, buffers = slot.module._parameters, slot.module._buffers
            held: dict[str, Any] = parameters if slot.key in parameters else buffers
            held[slot.key] = after  # what ``setattr`` does, which first looks where else the name might be


def move_buffers(model: nn.Module, dtype: torch.dtype | None, device: Any) -> None:
    """Move the buffers that no file holds, since they are computed, to the type and device of the parameters."""
    for module in model.modules():
        for key in module._non_persistent_buffers_set:
            buffer = module._buffers[key]
            if buffer is not None:
                module._buffers[key] = buffer.to(device=device, dtype=type_of(buffer, dtype))
