"""What the layers of Transformer-XL attend to: a segment of new tokens, and the memory before it (section 3.2).

Axes:  B batch,  T new tokens,  M tokens of the memory,  S tokens that are attended to: both,  H heads,  W features,
D width of a head.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from .cache import LayerMemory, Memory, ProjectionKey, RowWindow
from .mask import hidden_tokens, leading
from .positions import distances_to, relative_shift


class Lengths(NamedTuple):
    """The numbers of tokens in a configuration, which may be changed without changing the weights."""

    mem_len: int = 0
    ext_len: int = 0
    clamp_len: int = 0
    same_length: bool = False

    @property
    def span(self) -> int | None:
        """Tokens that each one attends to, itself included; None for all before it."""
        return self.mem_len if self.same_length and self.mem_len else None

    def first(self, memory: int) -> int:
        """The first of so many tokens of the memory that any new token attends to."""
        return 0 if self.span is None else max(0, memory - self.span + 1)

    def remembered(self, memory: int, new: int) -> tuple[int, int]:
        """The range of memory and new tokens that is the next memory: the latest, without the last ``ext_len``."""
        stop = memory + max(0, new - self.ext_len)
        return max(0, stop - self.mem_len), stop


class SegmentPositions(NamedTuple):
    """The distances and the mask of a segment, which are the same for all layers."""

    new: int
    """T."""
    attended: int
    """S."""
    features: Tensor | None
    """Of the distances, ``(S + 1, W)``; None where all layers have kept what they project from them."""
    hidden: Tensor | None
    """True where a token does not attend to another one, ``(T, S)`` or ``(B, 1, T, S)``; None for nowhere."""

    def by_token(self, scores: Tensor) -> Tensor:
        """Scores of distances, ``(B, H, T, S + 1)``, as masked scores of tokens, ``(B, H, T, S)``."""
        scores = relative_shift(scores, self.attended)
        if self.hidden is None:
            return scores
        if scores.requires_grad:
            return scores.masked_fill(self.hidden, float("-inf"))
        return scores.masked_fill_(self.hidden, float("-inf"))


class LayerContext:
    """What one layer attends to, and, once it has run, what it remembers.

    Args:
        memory: The memory of the layer.
        positions: The distances and the mask of the segment.
        first: The first token of the memory that is attended to.
        keeps: Whether keys, values and projected distances become part of the memory.
        blank: Whether all rows of the memory are zeros.
    """

    def __init__(
        self, memory: LayerMemory, positions: SegmentPositions, first: int, *, keeps: bool, blank: bool = False
    ) -> None:
        self._memory, self._positions, self._first = memory, positions, first
        self._keeps = keeps
        self._is_blank = blank and memory.states.length > 0
        self._states = memory.states
        self._keys_values: RowWindow | None = None
        self._distances: Tensor | None = None

    def states(self, x: Tensor) -> Tensor:
        """Hidden states of which keys and values are needed.

        Args:
            x: Those that enter the layer, ``(B, T, W)``.

        Returns:
            Those of the memory, unless their keys and values were kept, and then ``x``: ``(B, P + T, W)``.  Of a blank
            memory, one row stands for all.
        """
        before = self._memory.states
        self._states = before.followed_by(x) if self._keeps else before.joined(x.detach())
        if self._memory.keys_values is not None or not before.length:
            return x
        start = before.length - 1 if self._is_blank else 0 if self._keeps else self._first
        return torch.cat([before.rows[:, start:], x], dim=-2)

    def keys_values(self, projected: Tensor) -> Tensor:
        """Keys and values of all that is attended to.

        Args:
            projected: Those of ``states``, ``(2, B, H, P + T, D)``.

        Returns:
            ``(2, B, H, S, D)``.
        """
        if not self._keeps and not self._is_blank:
            return projected
        new = self._positions.new
        before, after = torch.split(projected, [projected.shape[-2] - new, new], dim=-2)
        if self._is_blank:
            before = before.expand(-1, -1, -1, self._memory.states.length, -1)
        if not self._keeps:
            return torch.cat([before[..., self._first :, :], after], dim=-2)
        kept = self._memory.keys_values
        self._keys_values = (RowWindow(before) if kept is None else kept).followed_by(after)
        return self._keys_values.rows[..., self._first :, :]

    def distances(self, net: nn.Module, width: int) -> Tensor:
        """The distances as ``net`` projects them, ``(H, D, S + 1)``, divided by the root of D, their ``width``."""
        features = self._positions.features
        if features is None:
            assert self._memory.distances is not None
            self._distances = self._memory.distances
        else:
            projected = net(features).unflatten(-1, (-1, width)).permute(1, 2, 0)
            self._distances = (projected * projected.shape[1] ** -0.5).contiguous()
        return self._distances

    def attend(self, query: Tensor, keys_values: Tensor, by_distance: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Mix values by content and by distance.

        Args:
            query: ``(B, H, T, D)``.
            keys_values: ``(2, B, H, S, D)``.
            by_distance: Scores of the distances, ``(B, H, T, S + 1)``; may be overwritten.
            dropout: Of the attention weights.

        Returns:
            ``(B, H, T, D)``.
        """
        key, value = keys_values
        bias = self._positions.by_token(by_distance)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)

    @property
    def seen(self) -> LayerMemory:
        """The memory of the layer and all new tokens."""
        return LayerMemory(self._states, self._keys_values, self._distances if self._keeps else None)


class LayerContextWithWeights(LayerContext):
    """A layer's context that keeps the attention weights."""

    weights: Tensor
    """``(B, H, T, S)``, once the layer has run."""

    def attend(self, query: Tensor, keys_values: Tensor, by_distance: Tensor, *, dropout: float = 0.0) -> Tensor:
        """The same result, computed with explicit weights."""
        key, value = keys_values
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + self._positions.by_token(by_distance)
        self.weights = scores.softmax(dim=-1)
        return F.dropout(self.weights, dropout) @ value


# --- A segment --------------------------------------------------------------------------------------------------------


class SegmentContext(NamedTuple):
    """The contexts of all layers for one segment."""

    layers: tuple[LayerContext, ...]
    new: int
    """T."""
    lengths: Lengths
    grows: bool
    key: ProjectionKey
    skipped: Tensor | None

    @classmethod
    def of(
        cls,
        x: Tensor,
        memory: Memory,
        lengths: Lengths,
        encode: Callable[[Tensor], Tensor],
        *,
        padding: Tensor | None = None,
        key: ProjectionKey = (),
        kind: type[LayerContext] = LayerContext,
    ) -> "SegmentContext":
        """The contexts of the layers for embedded tokens.

        Args:
            x: ``(B, T, W)``.
            memory: The tokens before.
            lengths: How far tokens attend.
            encode: Makes features, ``(distances, W)``, of distances.
            padding: ``(B, T)``, true where there is no token.
            key: What projections depend on, where keys, values and distances are to be kept; else empty.
            kind: The class of the contexts.
        """
        memory, first, new = memory.usable(key), lengths.first(memory.length), x.shape[1]
        attended = memory.length - first + new
        kept = memory.layers[0].distances
        is_kept = kept is not None and kept.shape[-1] == attended + 1
        skipped = leading(padding) if memory.skipped is None else memory.skipped
        positions = SegmentPositions(
            new,
            attended,
            None if is_kept else encode(distances_to(attended, lengths.clamp_len, x.device)),
            hidden_tokens(new, attended, span=lengths.span, skipped=skipped, device=x.device),
        )
        layers = [kind(layer, positions, first, keeps=bool(key), blank=memory.blank) for layer in memory.layers]
        return cls(tuple(layers), new, lengths, memory.grows, key, skipped)

    @property
    def memory(self) -> Memory:
        """The memory for the next segment, once all layers have run."""
        seen = tuple(layer.seen for layer in self.layers)
        if self.grows:
            return Memory(seen, projected_by=self.key, grows=True, skipped=self.skipped)
        start, stop = self.lengths.remembered(seen[0].states.length - self.new, self.new)
        return Memory(tuple(layer.part(start, stop) for layer in seen), projected_by=self.key)

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """The attention weights of all layers, ``(B, H, T, S)``, once they have run; none where they are not kept."""
        return tuple(layer.weights for layer in self.layers if isinstance(layer, LayerContextWithWeights))
