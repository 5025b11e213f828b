"""A divided model is written as one process would write it: a tensor at a time, put together by the first process.

Every other process sends its share, by the ranges that loading cut it out with; none but the first ever holds more than
it did before, and the first one a single complete tensor more.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from mmap import ACCESS_COPY, mmap
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

from registry.sharding.meshes import ProcessMesh
from registry.sharding.shares import Share, fused_axis, is_divided, local_of, share_of
from registry.weights.headers import Header


class HeldTensor(NamedTuple):
    """A tensor of a model, as far as this process has it."""

    tensor: Any
    """A DTensor, or a plain tensor that every process has complete."""
    fused: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as published."""
        return share_of(self.tensor, self.fused).shape if is_divided(self.tensor) else tuple(self.tensor.shape)

    @property
    def header(self) -> Header:
        """Shape and type as a file of the complete tensor has them."""
        return Header(
            self.shape, str(self.tensor.dtype).removeprefix("torch."), self.tensor.numel() * self.tensor.itemsize
        )


def parts_of(model: torch.nn.Module) -> dict[str, HeldTensor]:
    """The tensors of a model's state dict, by their names there."""
    found: dict[str, HeldTensor] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None and key not in module._non_persistent_buffers_set:
                found[f"{path}.{key}" if path else key] = HeldTensor(tensor, fused_axis(module, key))
    return found


class Gathering(Iterator[tuple[str, "Tensor | None"]]):
    """The complete tensors of a divided model, one after the other; all processes iterate at the same time.

    The first process gets each tensor on the CPU, the others None.

    Args:
        parts: The tensors.
        processes: The processes that divide the model.
    """

    def __init__(self, parts: Mapping[str, HeldTensor], processes: ProcessMesh) -> None:
        self._left = iter(list(parts.items()))
        self._processes = processes

    def __next__(self) -> "tuple[str, Tensor | None]":
        name, part = next(self._left)
        return name, complete(part, self._processes)

    def drain(self) -> None:
        """Take part in what is left, so that the other processes come to an end."""
        for _ in self:
            pass


def complete(part: HeldTensor, processes: ProcessMesh) -> "Tensor | None":
    """A tensor in the first process, on the CPU; None in the others.  All processes must call it."""
    first = processes.agreement.is_first
    if not is_divided(part.tensor):
        return part.tensor.detach().to("cpu") if first else None
    local = local_of(part.tensor)
    mesh, me = part.tensor.device_mesh, dist.get_rank()
    whole = _buffer(part.shape, part.tensor.dtype) if first else None
    writer = processes.agreement.ranks[0]
    for rank, share in _holders(part):
        if whole is None:
            if rank == me and share.numel:
                dist.send(local.contiguous(), dst=writer)
        elif rank == me:
            share.put(local.reshape(share.sizes).cpu(), whole)
        elif share.numel:
            received = _buffer(share.sizes, part.tensor.dtype, _device(mesh))
            dist.recv(received, src=rank)
            share.put(received.cpu(), whole)
    return whole


def _buffer(shape: Sequence[int], dtype: torch.dtype, device: str = "cpu") -> Tensor:
    """A tensor to fill; on the CPU the kernel has its memory back as soon as it is freed.

    What the C library gives may stay with the process, where something small that lives on lies behind it.
    """
    size = prod(shape)
    if not size or device != "cpu":
        return torch.empty(tuple(shape), dtype=dtype, device=device)
    return torch.frombuffer(mmap(-1, size * dtype.itemsize, access=ACCESS_COPY), dtype=dtype).view(tuple(shape))


def _device(mesh: Any) -> str:
    return str(mesh.device_type)


def _holders(part: HeldTensor) -> Iterator[tuple[int, Share]]:
    """The processes that together have a tensor, each element once, with their shares."""
    mesh = part.tensor.device_mesh
    copies = [number for number, placement in enumerate(part.tensor.placements) if placement.is_replicate()]
    for coordinate in torch.cartesian_prod(*map(torch.arange, mesh.mesh.shape)).reshape(-1, mesh.ndim).tolist():
        if not any(coordinate[number] for number in copies):
            yield int(mesh.mesh[tuple(coordinate)]), share_of(part.tensor, part.fused, coordinate)
