"""Mixture of experts: of several feed-forward networks, a router chooses some for each token (Shazeer et al., 2017)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it


class Experts(nn.Module):
    """Gated feed-forward networks (SwiGLU; Shazeer, 2020), the weights of all in two tensors.

    Args:
        number: Networks.
        width: Features of a token.
        inner: Features inside of a network.
        activation: Applied to the gate.
    """

    def __init__(self, number: int, width: int, inner: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(number, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(number, width, inner))
        self.activation = activation

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of some experts for each token.

        Args:
            x: ``(tokens, width)``.
            chosen: Numbers of experts, ``(tokens, experts of a token)``.
            weights: Their weights, of the same shape.

        Returns:
            ``(tokens, width)``.
        """
        mixed = torch.zeros_like(x)
        for number, (gate_up, down) in enumerate(zip(self.gate_up_proj, self.down_proj, strict=True)):
            tokens, places = (chosen == number).nonzero(as_tuple=True)
            gate, up = F.linear(x[tokens], gate_up).chunk(2, dim=-1)
            computed = F.linear(self.activation(gate) * up, down)
            mixed = mixed.index_add(0, tokens, computed * weights[tokens, places, None])
        return mixed


class MixtureOfExperts(nn.Module):
    """A router, and the experts among which it chooses (Jiang et al., 2024, section 2.1).

    Args:
        experts: The experts.
        top: Experts of a token; their weights are scaled to a sum of 1.
    """

    def __init__(self, experts: Experts, top: int) -> None:
        super().__init__()
        self.gate = nn.Linear(experts.down_proj.shape[1], len(experts.down_proj), bias=False)
        self.experts = experts
        self.top = top

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``; the router computes in 32 bits."""
        flat = x.flatten(0, -2)
        weights, chosen = self.gate(flat).float().softmax(dim=-1).topk(self.top, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        return self.experts(flat, chosen, weights.to(x.dtype)).view_as(x)
