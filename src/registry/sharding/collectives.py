"""What tensor parallel layers exchange: each is the adjoint of another, so that gradients are right by construction.

All processes of a group have the same features between layers.  A layer whose outputs are divided takes them through
``enter``, one whose inputs are divided gives its products to ``leave`` (Shoeybi et al., 2019, section 3).
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from registry.sharding.shares import portion


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _sum(grad, ctx.group), None


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:  # noqa: ARG004  # the signature is torch's
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return grad, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, features: int, group: dist.ProcessGroup) -> Tensor:
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        ctx.range = portion(0, features, rank, ranks)
        widest = portion(0, features, 0, ranks)[1]
        padded = x.new_zeros(*x.shape[:-1], widest)  # processes exchange tensors of one size
        padded[..., : x.shape[-1]] = x
        found = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(found, padded, group=group)
        joined = torch.cat(found, dim=-1)  # a tensor of its own: what models write into in place
        return joined if joined.shape[-1] == features else joined[..., :features].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        start, stop = ctx.range
        return grad[..., start:stop], None, None


def _sum(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def enter(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """``x`` itself; its gradient is the sum of those of all processes."""
    entered: Tensor = _Enter.apply(x, group)  # type: ignore[no-untyped-call]
    return entered


def leave(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The sum of ``x`` of all processes; its gradient is that of the sum."""
    left: Tensor = _Leave.apply(x, group)  # type: ignore[no-untyped-call]
    return left


def gather(x: Tensor, features: int, group: dist.ProcessGroup) -> Tensor:
    """The features of all processes, ``(..., features)``, from those of each; the gradient is its own part."""
    gathered: Tensor = _Gather.apply(x, features, group)  # type: ignore[no-untyped-call]
    return gathered
