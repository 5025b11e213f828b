"""Linear layers, of which a CPU leaves the large products of float32 to oneDNN.

torch itself leaves them to MKL, which makes little use of processors by AMD.  oneDNN, which torch has beside it for
tensors in a layout of its own, takes half the time there, and also half the time that a single row takes to read the
weight.  ``torch.backends.mkldnn.enabled = False`` leaves all to MKL, which forward-mode derivatives and ``vmap`` need.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.layers.packing import may_be_asked

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
    multiply = _Product.apply if torch.is_grad_enabled() else _by_onednn
    return multiply(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


class _Product(torch.autograd.Function):
    """The product by oneDNN, with gradients which can be differentiated themselves where that is wanted.

    torch has no second derivatives of oneDNN's products, and would keep a copy of ``x`` for the first.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _by_onednn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs[:2])

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


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can make a product, and makes it faster."""
    if not may_be_asked(x) or not x.dtype == weight.dtype == torch.float32:
        return False
    if type(x) is not Tensor or type(weight) not in (Tensor, nn.Parameter):  # quantised, sharded, without contents
        return False
    if x.dim() < 2 or x.shape[-1] != weight.shape[-1] or max(prod(x.shape[:-1]), FEW) * weight.numel() < LARGE:
        return False
    return _onednn_is_wanted() and not torch.is_autocast_enabled("cpu")


def _onednn_is_wanted() -> bool:
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available() and onednn.enabled)
