"""Feed-forward networks: plain and gated ones, and mixtures of experts."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

Activation: TypeAlias = Callable[[Tensor], Tensor]
"""A function of features."""


class FeedForward(nn.Module):
    """A feed-forward network, applied to each token (Vaswani et al., 2017, section 3.3).

    Args:
        width: Features of a token.
        inner: Features inside.
        activation: Applied to those inside.
        bias: Whether the projections have a bias.
        dropout: Probability with which a feature inside is dropped in training.
        names: The published names of the projections: to the features inside, and back.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        activation: Activation,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        names: Sequence[str] = ("up_proj", "down_proj"),
    ) -> None:
        super().__init__()
        self.activation, self.dropout, self.names = activation, dropout, tuple(names)
        for name in self.names[:-1]:
            self.add_module(name, nn.Linear(width, inner, bias=bias))
        self.add_module(self.names[-1], nn.Linear(inner, width, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        up, down = (getattr(self, name) for name in self.names)
        return down(F.dropout(self.activation(up(x)), self.dropout, self.training))


class GatedFeedForward(FeedForward):
    """The same with a gate, the first of its projections (SwiGLU and relatives; Shazeer, 2020).

    Its layers are ``gate_proj``, ``up_proj`` and ``down_proj``, as in the files of Llama and its relatives.

    Args:
        width: Features of a token.
        inner: Features inside.
        activation: Applied to the gate.
        bias: Whether the projections have a bias.
        dropout: Probability with which a feature inside is dropped in training.
        names: The published names of the projections: of the gate, to the features inside, and back.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        activation: Activation,
        *,
        bias: bool = False,
        dropout: float = 0.0,
        names: Sequence[str] = ("gate_proj", "up_proj", "down_proj"),
    ) -> None:
        super().__init__(width, inner, activation, bias=bias, dropout=dropout, names=names)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        gate, up, down = (getattr(self, name) for name in self.names)
        inside = self.activation(gate(x)) * up(x)
        return down(F.dropout(inside, self.dropout, self.training))


class Experts(nn.Module):
    """Gated feed-forward networks (SwiGLU; Shazeer, 2020), the weights of all in two tensors.

    These are ``gate_up_proj``, ``(number, 2 * inner, width)``, and ``down_proj``, ``(number, width, inner)``.

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
    """A router, and the experts among which it chooses for each token (Shazeer et al., 2017).

    Args:
        experts: The experts.
        top: Experts of a token.
        rescale: Whether the weights of these are scaled to a sum of 1 (Jiang et al., 2024, section 2.1).
        shared: A network that computes every token, too (Dai et al., 2024, section 3.2), weighted by a gate; or None.
    """

    def __init__(
        self, experts: Experts, top: int, *, rescale: bool = True, shared: GatedFeedForward | None = None
    ) -> None:
        super().__init__()
        width = experts.down_proj.shape[1]
        self.gate = nn.Linear(width, len(experts.down_proj), bias=False)
        self.experts = experts
        self.top, self.rescale = top, rescale
        if shared is not None:
            self.shared_expert = shared
            self.shared_expert_gate = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``; the router computes in 32 bits."""
        flat = x.flatten(0, -2)
        weights, chosen = self.gate(flat).float().softmax(dim=-1).topk(self.top, dim=-1)
        if self.rescale:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        mixed = self.experts(flat, chosen, weights.to(x.dtype))
        if hasattr(self, "shared_expert"):
            mixed = mixed + self.shared_expert_gate(flat).sigmoid() * self.shared_expert(flat)
        return mixed.view_as(x)
