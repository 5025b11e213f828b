"""Layers of encoder-decoders: attention with its projections, and a bias of relative positions.

Axes:  T tokens,  S tokens attended to,  H heads,  D width of a head.
"""

from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from registry.nn.attention import Attend
from registry.nn.cache import KeyValues
from registry.nn.seq2seq.attention import CrossAttend


class Attention(nn.Module):
    """Attention among the tokens of a text or an answer, with its projections (Vaswani et al., 2017, section 3.2.2).

    Args:
        width: Features of a token.
        heads: Heads.
        head_width: Features of a head; None for an even share of ``width``.
        bias: Whether the projections have a bias.
        dropout: Probability with which an attention weight is dropped in training.
        scale: Multiplies scores; None for ``head_width ** -0.5``.
        names: The published names of the projections: of queries, keys, values, and of what is mixed.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int | None = None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        scale: float | None = None,
        names: Sequence[str] = ("query", "key", "value", "output"),
    ) -> None:
        super().__init__()
        self.head_width = width // heads if head_width is None else head_width
        self.dropout, self.names = dropout, tuple(names)
        self.factor = 1.0 if scale is None else scale * self.head_width**0.5  # attention itself divides by the root
        inner = heads * self.head_width
        for name in self.names[:3]:
            self.add_module(name, nn.Linear(width, inner, bias=bias))
        self.add_module(self.names[3], nn.Linear(inner, width, bias=bias))

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """Mix the tokens of ``x``, ``(..., width)``, by ``attend``."""
        return self.mix(x, attend, *self.key_value(x))

    def mix(self, x: Tensor, attend: Any, *keys: Any) -> Tensor:
        """What the tokens of ``x``, ``(..., width)``, attend to: keys and values, or the function that makes them."""
        query = self.heads_of(x, self.names[0])
        mixed = attend(
            query if self.factor == 1.0 else query * self.factor,
            *keys,
            dropout=self.dropout if self.training else 0.0,
        )
        output: Tensor = getattr(self, self.names[3])(mixed.flatten(-2))
        return output

    def key_value(self, x: Tensor) -> KeyValues:
        """Keys and values of the tokens of ``x``, each ``(..., H, D)``."""
        return self.heads_of(x, self.names[1]), self.heads_of(x, self.names[2])

    def heads_of(self, x: Tensor, name: str) -> Tensor:
        """The projection of this name, ``(..., H, D)``; a process that shares the layer has some of the heads."""
        projected: Tensor = getattr(self, name)(x)
        return projected.unflatten(-1, (-1, self.head_width))  # type: ignore[no-untyped-call]


class CrossAttention(Attention):
    """Attention of an answer to the encoded text, whose keys and values are made where they are not cached."""

    def forward(self, x: Tensor, attend: CrossAttend) -> Tensor:  # type: ignore[override]  # another kind of attention
        """Mix what the tokens of ``x``, ``(batch, tokens, width)``, attend to."""
        return self.mix(x, attend, self.key_value)


class RelativeBias(nn.Embedding):
    """A bias of attention scores for each class of distances and each head (Raffel et al., 2020, section 2.1).

    Short distances have a class each, longer ones share wider and wider ones.

    Args:
        classes: Classes of distances.
        heads: Heads.
        farthest: The distance from which on all are of one class.
    """

    def __init__(self, classes: int, heads: int, farthest: int) -> None:
        super().__init__(classes, heads)
        self.farthest = farthest

    def both_ways(self, tokens: int) -> Tensor:
        """The bias among so many tokens of a text, ``(H, T, T)``; half of the classes are for tokens behind."""
        distances, half = self._distances(tokens), self.num_embeddings // 2
        return self._bias(self._classes(distances.abs(), half) + half * (distances > 0))

    def backwards(self, new: int, tokens: int) -> Tensor:
        """The bias of the last ``new`` of so many tokens of an answer, which see those before, ``(H, T, S)``."""
        return self._bias(self._classes((-self._distances(tokens)[-new:]).clamp(min=0), self.num_embeddings))

    def _distances(self, tokens: int) -> Tensor:
        positions = torch.arange(tokens, device=self.weight.device)
        return positions - positions[:, None]

    def _classes(self, distances: Tensor, number: int) -> Tensor:
        """The class of each distance, below ``number``: one for each short distance, then logarithmic ones."""
        exact = number // 2
        wide = (distances.clamp(min=1).float() / exact).log() / log(self.farthest / exact) * (number - exact)
        return distances.where(distances < exact, (exact + wide.long()).clamp(max=number - 1))

    def _bias(self, classes: Tensor) -> Tensor:
        return self(classes).permute(2, 0, 1)
