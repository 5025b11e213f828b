"""Normalizations that torch lacks, or computes otherwise than published models."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root mean square normalization (Zhang and Sennrich, 2019), computed in 32 bits.

    ``nn.RMSNorm`` multiplies by the weight in 32 bits as well, so that it gives other numbers in half precision than
    the published models have.  Its parameter is ``weight``, which ``init_module`` of the model sets to 1.

    Args:
        width: Features of a token.
        eps: Added to the mean square.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(..., width)``."""
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)

    def extra_repr(self) -> str:
        """The sizes, as ``nn.LayerNorm`` shows them."""
        return f"{tuple(self.weight.shape)}, eps={self.eps}"
