"""Attention that looks back: new tokens attend to themselves and to all before them, the remembered ones included.

Axes:  B batch,  T new tokens,  S tokens so far, the new ones included.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.nn.attention import are_shared, attention, eager_attention
from registry.nn.cache import KeyValuePairs, KeyValues, Past
from registry.nn.packing import can_branch_on


def causal_attention(query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Let every token attend to itself and to those before it, of shape ``(..., tokens, heads, width)``."""
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))
    return F.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, enable_gqa=are_shared(query, key)
    ).transpose(-3, -2)


def causal_mask(tokens: int, before: int, mask: Tensor | None, device: torch.device) -> Tensor:
    """Which tokens each new one attends to, ``(B or 1, 1, T, S)``; ``mask``, ``BS``, is false at padding.

    Every token sees itself, padding too: a softmax over nothing would give NaN.
    """
    back = torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)
    if mask is None:
        return back[None, None]
    return (mask[:, None, None, :] & back) | back.triu(before)


class Context:
    """New tokens and what stands before them: where they are, what they attend to, and what is kept of them.

    A model asks for it once, and gives ``attend`` to its layers in their order, since it remembers the keys and values
    of each.  ``mask``, of the shape of all tokens so far, is zero at padding, which may stand anywhere.

    Raises InputError when there is no token, and when the mask does not fit.
    """

    def __init__(
        self, input_ids: Tensor, mask: Tensor | None = None, past: Past | Iterable[KeyValues] | None = None
    ) -> None:
        self._shape = input_ids.shape
        self._past = past if isinstance(past, Past) else KeyValuePairs(past or ())
        self._before = self._past.length
        self._layer = 0
        if not input_ids.numel():
            raise InputError(f"input_ids must hold at least one token, not have the shape {tuple(self._shape)}.")
        self._tokens = self._tokens_in(mask)
        self._sight = self._sight_from(input_ids.device)

    def _tokens_in(self, mask: Tensor | None) -> Tensor | None:
        """Which of all tokens are no padding, ``BS``; None where it is known that all are."""
        if mask is None:
            return None
        wanted = (*self._shape[:-1], self.length)
        if mask.shape != wanted:
            raise InputError(
                f"attention_mask must have the shape of all tokens so far, {wanted}, not {tuple(mask.shape)}.",
                hint="Tokens that past_key_values remember have a place in it, too." if self._before else None,
            )
        tokens = mask.reshape(-1, self.length) != 0
        return None if can_branch_on(tokens) and tokens.all() else tokens

    def _sight_from(self, device: torch.device) -> Tensor | None:
        """Which tokens the new ones attend to; None where ``causal_attention`` or no mask at all will do."""
        new = self._shape[-1]
        if self._tokens is None and (self._before == 0 or new == 1):
            return None
        return causal_mask(new, self._before, self._tokens, device)

    @property
    def length(self) -> int:
        """Tokens so far, the new ones included."""
        return self._before + self._shape[-1]

    def positions(self, device: torch.device) -> Tensor:
        """How many tokens stand before each new one, padding not counted; ``(T,)``, or of the shape of the ids."""
        if self._tokens is None:
            return torch.arange(self._before, self.length, device=device)
        return (self._tokens.cumsum(-1) - 1).clamp(min=0)[:, self._before :].reshape(self._shape)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Attention of the next layer, which is remembered; all of shape ``(B, T, heads, width)``.

        ``key`` and ``value`` are remembered with as many heads as they have, which may be fewer than the query's.
        """
        keys, values = self._past.append(self._layer, key.transpose(-3, -2), value.transpose(-3, -2))
        self._layer += 1
        return self._mix(query, keys.transpose(-3, -2), values.transpose(-3, -2), dropout)

    def _mix(self, query: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        if self._sight is None and self._before == 0:
            return causal_attention(query, keys, values, dropout=dropout)
        return attention(query, keys, values, mask=self._sight, dropout=dropout)

    def flat(self, x: Tensor) -> Tensor:
        """Features of the ids, with all leading axes as one: ``(B, T, width)``."""
        return x.view(-1, *x.shape[-2:])

    def restore(self, x: Tensor) -> Tensor:
        """Features ``(B, T, width)`` in the shape of the ids, zero at padding."""
        if self._tokens is not None:
            x = x.masked_fill(~self._tokens[:, self._before :, None], 0.0)
        return x.view(*self._shape, -1)

    @property
    def past_key_values(self) -> Sequence[KeyValues]:
        """Keys and values of all layers, to go on from: the cache that was given, or else new tensors."""
        return tuple(self._past) if isinstance(self._past, KeyValuePairs) else self._past

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """Weights of every layer, each ``(batch, heads, tokens, tokens so far)``, where they are kept."""
        return None


class CausalStateWithWeights(Context):
    """The same, with the weights of every attention kept."""

    def __init__(
        self, input_ids: Tensor, mask: Tensor | None = None, past: Past | Iterable[KeyValues] | None = None
    ) -> None:
        super().__init__(input_ids, mask, past)
        self._weights: list[Tensor] = []

    def _sight_from(self, device: torch.device) -> Tensor:
        return causal_mask(self._shape[-1], self._before, self._tokens, device)

    def _mix(self, query: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        mixed, weights = eager_attention(query, keys, values, mask=self._sight, dropout=dropout)
        self._weights.append(weights)
        return mixed

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """Weights of every layer, each ``(batch, heads, tokens, tokens so far)``."""
        return tuple(self._weights)
