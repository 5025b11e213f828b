"""Linear layers, of which a CPU leaves the large products of float32 to oneDNN when no gradients are wanted.

torch itself leaves them to MKL, which makes little use of processors by AMD.  oneDNN, which torch has beside it for
tensors in a layout of its own, takes half the time there, and also half the time that a single row takes to read the
weight.
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
    """``nn.Linear``, with its product made by ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for ``x`` of shape ``(..., in)`` and a weight ``(out, in)``: ``F.linear``, but faster."""
    if _is_for_onednn(x, weight):
        return F.linear(x.to_mkldnn(), weight, bias).to_dense()
    return F.linear(x, weight, bias)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can make a product, and makes it faster."""
    if torch.is_grad_enabled() or not may_be_asked(x) or not x.dtype == weight.dtype == torch.float32:
        return False
    if type(x) is not Tensor or type(weight) not in (Tensor, nn.Parameter):  # quantised, sharded, without contents
        return False
    if x.shape[-1] != weight.shape[-1] or max(prod(x.shape[:-1]), FEW) * weight.numel() < LARGE:
        return False
    return _onednn_is_wanted() and not torch.is_autocast_enabled("cpu")


def _onednn_is_wanted() -> bool:
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available() and onednn.enabled)
