"""Linear layers, of which a CPU leaves the large products of float32 to oneDNN.

torch itself leaves them to MKL, which makes little use of processors by AMD.  oneDNN, which torch has beside it for
tensors in a layout of its own, takes half the time there, and also half the time that a single row takes to read the
weight.  ``torch.backends.mkldnn.enabled = False`` leaves all to MKL.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.nn.packing import can_branch_on

LARGE = 2**23
"""Multiplications from which on it pays to hand the rows over and to take the product back: some 25 microseconds."""
FEW = 16
"""Rows that take as long as a single one, since reading the weight takes longer than multiplying."""


class Linear(nn.Linear):
    """``nn.Linear``, with its product made by ``linear``.

    torch's deprecated ``quantize_dynamic`` passes it over, since it asks for the very class ``nn.Linear``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for ``x`` of shape ``(..., in)`` and a weight ``(out, in)``: ``F.linear``, but faster."""
    if not _is_for_onednn(x, weight):
        return F.linear(x, weight, bias)
    multiply = _by_onednn if torch.is_inference_mode_enabled() else _Product.apply
    return multiply(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


class _Product(torch.autograd.Function):
    """The product by oneDNN, with what torch lacks for it: ``vmap``, and derivatives but the first.

    Of the first, torch's own would keep a copy of ``x``.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _by_onednn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:  # noqa: ARG004  # the signature is torch's
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            rows = grad.flatten(0, -2)
            found = grad @ weight, rows.t() @ x.flatten(0, -2), rows.sum(0)
        else:
            x, grad = x.to_mkldnn(), grad.to_mkldnn()
            found = torch.ops.aten.mkldnn_linear_backward(x, grad, weight, ctx.needs_input_grad)
        wanted = zip(found, ctx.needs_input_grad, strict=True)
        return tuple(one.to_dense() if needed else None for one, needed in wanted)

    @staticmethod
    def jvp(ctx: Any, x_change: Tensor, weight_change: Tensor | None, bias_change: Tensor | None) -> Tensor:
        x, weight = ctx.saved_tensors
        found = bias_change
        if x_change is not None:
            found = F.linear(x_change, weight, found)
        if weight_change is not None:
            product = F.linear(x, weight_change)
            found = product if found is None else found + product
        return found

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:  # noqa: ARG004  # the signature is torch's
        return torch.vmap(F.linear, in_dims)(*inputs), 0


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can make a product, and makes it faster."""
    if not can_branch_on(x) or not x.dtype == weight.dtype == torch.float32:
        return False
    if type(x) is not Tensor or type(weight) not in (Tensor, nn.Parameter):  # quantised, sharded, without contents
        return False
    if x.dim() < 2 or x.shape[-1] != weight.shape[-1] or max(prod(x.shape[:-1]), FEW) * weight.numel() < LARGE:
        return False
    return _onednn_is_wanted() and not torch.is_autocast_enabled("cpu")


def _onednn_is_wanted() -> bool:
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available() and onednn.enabled)
