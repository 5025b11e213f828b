"""Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1), of all tokens or causal, with a cache or without.

Axes:  B batch,  T new tokens,  S tokens so far, the new ones included,  H heads,  D width of a head.

Projections give ``(B, T, H, D)``, and the next projection takes it like that, so that is the shape in and out of
everything here.  A model makes one ``CausalState`` for each call of ``forward`` and hands each layer its ``attend_in``.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.nn.cache import DynamicKeyValueCache, KeyValueCache, KeyValues
from registry.nn.inputs import can_branch_on, check_mask

MULTIPLIES_BFLOAT16: bool = torch.cpu._is_amx_tile_supported()
"""Whether the processor multiplies matrices of bfloat16, with which torch's kernel for one query takes 1/3 to 1/6 of
the time of a conversion of all keys and values.  On one without, where it took twice as long, they are converted."""


class Attend(Protocol):
    """Attention as a layer is given it: which tokens belong together is settled already."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Mix ``value`` by the similarity of ``query`` and ``key``.

        Args:
            query: ``(..., tokens, heads, width of a head)``.
            key: The same shape, or fewer heads, each shared by as many neighboring heads of the query (Ainslie et al.,
                2023).
            value: The shape of ``key``.
            dropout: Probability with which a weight is dropped, in evaluation too: a layer gives its rate where it is
                ``training``, and 0 elsewhere.

        Returns:
            The shape of ``query``.
        """
        ...


def attention(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Attention of every token to every token of its sequence.

    Args:
        query: ``(..., tokens, heads, width of a head)``.
        key: As for ``Attend``.
        value: As for ``Attend``.
        mask: Boolean, broadcasts to ``(..., heads, tokens, tokens)``, and is true where a token may attend; or of the
            type of the query, and added to the scores.
        dropout: Probability with which a weight is dropped.

    Returns:
        The shape of ``query``.
    """
    given = query.dtype
    if query.shape[-3] == 1 and given == torch.bfloat16 and query.device.type == "cpu" and not MULTIPLIES_BFLOAT16:
        query, key, value = query.float(), key.float(), value.float()  # each once; the kernel converts again and again
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))  # BTHD -> BHTD
    shared = are_shared(query, key)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, enable_gqa=shared)
    return mixed.transpose(-3, -2).to(given)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Attention of every token to itself and to those before it; arguments and result as for ``Attend``."""
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))  # BTHD -> BHTD
    return F.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, enable_gqa=are_shared(query, key)
    ).transpose(-3, -2)


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """``attention`` by its formula, which is slower, with the attention weights.

    Returns:
        The result, and the weights before dropout, ``(..., heads, tokens, tokens)``.
    """
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))  # BTHD -> BHTD
    if are_shared(query, key):
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3) for x in (key, value))
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(dim=-1)
    return (F.dropout(weights, dropout) @ value).transpose(-3, -2), weights


def with_sinks(sinks: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values and mask, with one more key in front, of which every token sees a score of its head, and no value.

    A head can thus attend to nothing (Xiao et al., 2023, section 3.3; gpt-oss).

    Args:
        sinks: The score of each head, ``(heads,)``.
        key: ``(batch, tokens, heads, width)``.
        value: The shape of ``key``.
        mask: As for ``attention``.

    Returns:
        Keys, values, and a mask to be added to the scores.
    """
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=key.dtype).masked_fill(~mask, float("-inf"))
    column = sinks.to(mask.dtype).view(-1, 1, 1).expand(*mask.shape[:-3], len(sinks), mask.shape[-2], 1)
    mask = torch.cat([column, mask.expand(*column.shape[:-1], mask.shape[-1])], dim=-1)
    key, value = (torch.cat([x.new_zeros(x.shape[0], 1, *x.shape[2:]), x], dim=1) for x in (key, value))
    return key, value, mask


def are_shared(query: Tensor, key: Tensor) -> bool:
    """Whether several heads of ``query`` share one of ``key``; both are ``(..., heads, tokens, width)``."""
    return bool(query.shape[-3] != key.shape[-3])  # sizes are tensors under torch.jit.trace


def causal_mask(new: int, past: int, mask: Tensor | None, device: torch.device, *, window: int | None = None) -> Tensor:
    """The causal mask of ``new`` tokens after ``past`` cached ones.

    Args:
        new: Number of new tokens, T.
        past: Number of tokens before them.
        mask: Boolean, ``(B, S)``, false at padding; None where there is none.
        device: Where to make it.
        window: Tokens to which one attends, itself included; None for all before it.

    Returns:
        Boolean, ``(B or 1, 1, T, S)``, true where a token may attend.  Every token attends to itself, padding too: a
        softmax over nothing would give NaN.
    """
    causal = torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)
    if window is not None:
        causal = causal.triu(past - window + 1)
    if mask is None:
        return causal[None, None]
    return (mask[:, None, None, :] & causal) | causal.triu(past)


class CausalState:
    """The state of one forward pass of a causal model: positions, mask and cache of its tokens.

    A model makes one for each call, and hands ``attend_in(number)`` to the layer of that number, whose keys and values
    are cached.  A layer may be computed again, as gradient checkpointing does.

    Args:
        input_ids: New tokens, ``(..., T)``.
        mask: ``(..., S)``, zero at padding, which may be anywhere.
        past: Keys and values of the tokens before.
        hidden: A list to which ``keep`` appends; None for none.

    Raises:
        InputError: There is no token, or the mask does not fit.
    """

    def __init__(
        self,
        input_ids: Tensor,
        mask: Tensor | None = None,
        past: KeyValueCache | Iterable[KeyValues] | None = None,
        *,
        hidden: list[Tensor] | None = None,
    ) -> None:
        self._hidden = hidden
        self._shape = input_ids.shape
        self._cache = past if isinstance(past, KeyValueCache) else DynamicKeyValueCache(past or ())
        self._past = self._cache.length
        if not input_ids.numel():
            raise InputError(f"input_ids must hold at least one token, not have the shape {tuple(self._shape)}.")
        self._tokens = self._tokens_in(mask)
        self._masks: dict[int | None, Tensor | None] = {}
        self._biases: dict[tuple[int | None, int], tuple[Tensor, Tensor]] = {}
        self._device = input_ids.device

    def _tokens_in(self, mask: Tensor | None) -> Tensor | None:
        """Which of all tokens are not padding, ``(B, S)``; None where it is known that all are."""
        if mask is None:
            return None
        wanted = (*self._shape[:-1], self.length)
        if mask.shape != wanted:
            raise InputError(
                f"attention_mask must have the shape of all tokens so far, {wanted}, not {tuple(mask.shape)}.",
                hint="It covers the tokens in past_key_values, too." if self._past else None,
            )
        check_mask(mask)
        tokens = mask.reshape(-1, self.length) != 0
        return None if can_branch_on(tokens) and tokens.all() else tokens

    def _mask(self, window: int | None) -> Tensor | None:
        """The causal mask of a window, made once; None where ``causal_attention`` or no mask at all will do."""
        window = None if window is None or window >= self.length else window
        if window not in self._masks:
            self._masks[window] = self._make_mask(window)
        return self._masks[window]

    def _make_mask(self, window: int | None) -> Tensor | None:
        new = self._shape[-1]
        if self._tokens is None and window is None and (self._past == 0 or new == 1):
            return None
        return causal_mask(new, self._past, self._tokens, self._device, window=window)

    @property
    def length(self) -> int:
        """Tokens so far, the new ones included."""
        return self._past + self._shape[-1]

    def positions(self, device: torch.device) -> Tensor:
        """The number of tokens before each new one, padding not counted; ``(T,)``, or of the shape of the ids."""
        if self._tokens is None:
            return torch.arange(self._past, self.length, device=device)
        return (self._tokens.long().cumsum(-1) - 1).clamp(min=0)[:, self._past :].reshape(self._shape)

    def attend_in(
        self, layer: int, *, window: int | None = None, bias: Tensor | None = None, sinks: Tensor | None = None
    ) -> Attend:
        """Causal attention of the layer of this number, whose keys and values are appended to the cache.

        Args:
            layer: The number.
            window: Tokens to which one attends, itself included (Beltagy et al., 2020); None for all before it.
            bias: Is added to the scores, ``(..., H, T, S)``: of relative positions, for example (Raffel et al., 2020).
            sinks: For each head a score that takes part in the softmax, and attends to nothing, ``(H,)`` (gpt-oss).
        """
        mask = self._mask(window) if bias is None else self._biased(window, bias)
        if mask is None and sinks is not None:
            mask = causal_mask(self._shape[-1], self._past, None, self._device)
        return partial(self._attend, layer, mask, sinks)

    def _biased(self, window: int | None, bias: Tensor) -> Tensor:
        """A bias under the mask of a window, made once however many layers share it."""
        key = window, id(bias)
        if key not in self._biases:
            mask = self._mask(window)
            if mask is None:
                mask = causal_mask(self._shape[-1], self._past, None, self._device)
            self._biases[key] = bias, bias.masked_fill(~mask, float("-inf"))  # kept, so that its id stays its own
        return self._biases[key][1]

    def _attend(
        self,
        layer: int,
        mask: Tensor | None,
        sinks: Tensor | None,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        dropout: float = 0.0,
    ) -> Tensor:
        keys, values = self._cache.append(layer, key.transpose(-3, -2), value.transpose(-3, -2))
        keys, values = keys.transpose(-3, -2), values.transpose(-3, -2)
        if sinks is not None:
            assert mask is not None  # as made by attend_in
            keys, values, mask = with_sinks(sinks, keys, values, mask)
        return self._mix(layer, query, keys, values, mask, dropout)

    def _mix(
        self,
        layer: int,  # noqa: ARG002  # used below
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
        dropout: float,
    ) -> Tensor:
        if mask is None and self._past == 0:
            return causal_attention(query, keys, values, dropout=dropout)
        return attention(query, keys, values, mask=mask, dropout=dropout)

    def flat(self, x: Tensor) -> Tensor:
        """Features of the ids, with all leading axes as one: ``(B, T, width)``."""
        return x.view(-1, *x.shape[-2:])

    def restore(self, x: Tensor) -> Tensor:
        """Features ``(B, T, width)`` in the shape of the ids, zero at padding."""
        if self._tokens is not None:
            x = x.masked_fill(~self._tokens[:, self._past :, None], 0.0)
        return x.view(*self._shape, -1)

    def show(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What ``restore`` gives, and ``(B, T, width)`` to continue with, whose gradients flow through it."""
        shown = self.restore(x)
        flat = self.flat(shown)
        return shown, flat if self._tokens is None else flat.where(self._tokens[:, self._past :, None], x)

    def keep(self, x: Tensor) -> Tensor:
        """``(B, T, width)``, the input of a layer, which becomes a hidden state of the output where these are kept."""
        if self._hidden is None:
            return x
        shown, x = self.show(x)
        self._hidden.append(shown)
        return x

    @property
    def past_key_values(self) -> Sequence[KeyValues]:
        """Keys and values of all layers, for the next call: the cache that was given, or else new tensors."""
        return tuple(self._cache) if isinstance(self._cache, DynamicKeyValueCache) else self._cache

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """Weights of every layer, each ``(B, H, T, S)``, where they are kept."""
        return None


class CausalStateWithWeights(CausalState):
    """The same, with the attention weights of every layer kept."""

    def __init__(
        self,
        input_ids: Tensor,
        mask: Tensor | None = None,
        past: KeyValueCache | Iterable[KeyValues] | None = None,
        *,
        hidden: list[Tensor] | None = None,
    ) -> None:
        super().__init__(input_ids, mask, past, hidden=hidden)
        self._weights: dict[int, Tensor] = {}

    def _make_mask(self, window: int | None) -> Tensor:
        return causal_mask(self._shape[-1], self._past, self._tokens, self._device, window=window)

    def _mix(
        self, layer: int, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: float
    ) -> Tensor:
        mixed, weights = eager_attention(query, keys, values, mask=mask, dropout=dropout)
        self._weights[layer] = weights[..., -self.length :]  # without that of a sink
        return mixed

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """Weights of every layer, each ``(B, H, T, S)``."""
        return tuple(self._weights.values())
