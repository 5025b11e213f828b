"""One segment of text behind a memory: what its tokens attend to, how far away that is, and what is kept of them.

Axes:  B batch,  T new tokens,  M remembered ones,  S tokens that are attended to: both,  H heads,  D width of a head.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.nn.inputs import can_branch_on

from .memory import Memory, Stamp, Window

Project: TypeAlias = Callable[[Tensor], Tensor]
"""Makes keys and values, ``(2, B, H, M, D)``, of hidden states, ``(B, M, W)``."""


class Lengths(NamedTuple):
    """What counts tokens in a model; may be changed without changing its weights."""

    mem_len: int
    ext_len: int
    clamp_len: int
    same_length: bool

    @property
    def sight(self) -> int | None:
        """To how many tokens each one attends, itself included; None where to all before it."""
        return self.mem_len if self.same_length and self.mem_len else None


class Segment:
    """New tokens, ``(B, T)``, and the memory before them.

    A model asks for it once, and gives it to its layers in their order, since it remembers what enters each.
    ``padding``, ``BT``, is true where there is no token: there it stands for memory that is still empty, which the
    published model attends to as it does to any other.  ``encode`` makes features of distances; with a ``stamp``,
    keys, values and distances are kept beside the hidden states.
    """

    def __init__(
        self,
        tokens: int,
        memory: Memory,
        lengths: Lengths,
        encode: Callable[[Tensor], Tensor],
        *,
        padding: Tensor | None = None,
        stamp: Stamp = (),
    ) -> None:
        self._memory = memory.usable(stamp)
        self._lengths = lengths
        self._padding = padding
        self._stamp = stamp
        self._before, self._new = memory.length, tokens
        # What no new token sees is left out: the oldest ones, where all see equally many.
        self._first = 0 if lengths.sight is None else max(0, self._before - lengths.sight + 1)
        self._states: list[Window] = []
        self._pairs: list[Window] = []
        self._distances: list[Tensor] = []
        self._known = self._known_distances()
        device = memory[0].device
        self._encoded = None if self._known else encode(self._far(device))
        self._hidden = self._hidden_from(device)

    # --- Where everything is

    @property
    def _seen(self) -> int:
        """Tokens that are attended to."""
        return self._before - self._first + self._new

    def _known_distances(self) -> tuple[Tensor, ...]:
        """Projected distances of an earlier segment with as many tokens."""
        kept = self._memory.distances
        return kept if kept and kept[0].shape[-1] == self._seen + 1 else ()

    def _far(self, device: torch.device) -> Tensor:
        """Distances to all that is attended to, the farthest first, and one more, which nobody is at: ``(S + 1,)``."""
        far = torch.arange(self._seen - 1, -2, -1, device=device, dtype=torch.float32)
        return far.clamp(max=self._lengths.clamp_len) if self._lengths.clamp_len else far

    def _hidden_from(self, device: torch.device) -> Tensor | None:
        """What each token does not attend to, ``(T, S)`` or ``(B, 1, T, S)``; None where it attends to everything."""
        sight, seen = self._lengths.sight, self._seen
        place = torch.arange(seen, device=device)
        back = place[-self._new :, None] - place  # how far behind a token another one stands
        hidden = back < 0
        if sight is not None:
            hidden = hidden | (back >= sight)
        elif self._padding is not None:  # as much less empty memory as there is padding in its place
            hidden = hidden | (place < self._padding.long().cumprod(dim=1).sum(dim=1)[:, None, None, None])
        elif self._new == 1:
            return None
        return hidden if not can_branch_on(hidden) or hidden.any() else None

    # --- What layers ask for

    def enter(self, x: Tensor, new: Tensor, project: Project) -> Tensor:
        """Keys and values of all that is attended to, ``(2, B, H, S, D)``, where ``x``, ``BTW``, enters the next layer.

        ``new``, ``(2, B, H, T, D)``, are its own; those of the memory are made by ``project``, unless they are kept.
        """
        layer = len(self._states)
        states = self._memory.states[layer]
        if not self._stamp:
            self._states.append(Window(torch.cat([states.rows, x.detach()], dim=-2)))
            return torch.cat([self._projected(states.rows[:, self._first :], project), new], dim=-2)
        self._states.append(states.followed_by(x))
        known = self._memory.pairs
        before = known[layer] if known else Window(self._projected(states.rows, project))
        self._pairs.append(before.followed_by(new))
        return self._pairs[-1].rows[..., self._first :, :]

    def _projected(self, states: Tensor, project: Project) -> Tensor:
        """Keys and values of the memory; of one that is blank, of one row for all."""
        if not self._memory.blank or not states.shape[1]:
            return project(states)
        one = project(states[:1, :1])
        return one.expand(-1, len(states), -1, states.shape[1], -1)

    def distances(self, net: nn.Module, heads: int) -> Tensor:
        """The distances as ``net`` of the layer that was entered projects them, ``(H, D, S + 1)``.

        They are divided by the root of ``D``, as all scores are.
        """
        if self._known:
            projected = self._known[len(self._states) - 1]
        else:
            projected = net(self._encoded).unflatten(-1, (heads, -1)).permute(1, 2, 0)
            projected = (projected * projected.shape[1] ** -0.5).contiguous()
        self._distances.append(projected)
        return projected

    def attend(self, query: Tensor, pairs: Tensor, near: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Mix values by their keys and by how near they are; all ``BHTD``, as the result is.

        ``near``, ``(B, H, T, S + 1)``, scores the distances.
        """
        key, value = pairs
        return F.scaled_dot_product_attention(query, key, value, attn_mask=self._by_place(near), dropout_p=dropout)

    def _by_place(self, near: Tensor) -> Tensor:
        """Scores of distances as scores of tokens, ``BHTS``, minus infinity where nothing is attended to.

        The distance from token ``t`` to what stands at ``s`` has the place ``s + T - 1 - t``: one less in each row.  In
        memory, that is one run of numbers, with rows shorter by one (section 3.3 and appendix B).
        """
        run = near.flatten(-2).narrow(-1, self._new - 1, self._new * self._seen)
        scores = run.view(*near.shape[:-2], self._new, self._seen)
        if self._hidden is None:
            return scores
        if scores.requires_grad:
            return scores.masked_fill(self._hidden, float("-inf"))
        return scores.masked_fill_(self._hidden, float("-inf"))

    def restore(self, x: Tensor) -> Tensor:
        """Features ``(B, T, W)``, zero at padding."""
        return x if self._padding is None else x.masked_fill(self._padding[..., None], 0.0)

    # --- What is left

    @property
    def mems(self) -> Memory:
        """The memory for what follows: of all tokens but the last ``ext_len``, the latest ``mem_len``."""
        stop = self._before + max(0, self._new - self._lengths.ext_len)
        start = max(0, stop - self._lengths.mem_len)
        return Memory(
            states=tuple(window.part(start, stop) for window in self._states),
            pairs=tuple(window.part(start, stop) for window in self._pairs),
            distances=tuple(self._distances) if self._stamp else (),
            stamp=self._stamp,
        )

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """Weights of every layer, each ``(B, H, T, S)``, where they are kept."""
        return None


class WatchedSegment(Segment):
    """The same, with the weights of every attention kept."""

    _weights: tuple[Tensor, ...] = ()

    def attend(self, query: Tensor, pairs: Tensor, near: Tensor, *, dropout: float = 0.0) -> Tensor:
        """The same, by forming the weights."""
        key, value = pairs
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + self._by_place(near)
        weights = scores.softmax(dim=-1)
        self._weights += (weights,)
        return F.dropout(weights, dropout) @ value

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """Weights of every layer, each ``(B, H, T, S)``."""
        return self._weights
