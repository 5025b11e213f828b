"""Cross-attention (Vaswani et al., 2017, section 3.2.3): the tokens of a decoder attend to an encoded text.

Axes:  B encoded texts,  S their tokens,  T tokens of a decoder,  H heads,  D width of a head.

Keys and values of an encoded text stay the same while a decoder generates, so that each layer computes them once.
Several sequences may answer one text, as beams and samples do: they are neighbors in the batch, and attend to the one
text together, as if their tokens were those of one sequence.  Nothing of the text is ever copied or reordered.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from registry.errors import InputError
from registry.nn.attention import attention, eager_attention
from registry.nn.cache import KeyValueCache, KeyValues, StaticKeyValueCache
from registry.nn.inputs import can_branch_on, check_mask, is_traced

Project: TypeAlias = Callable[[Tensor], KeyValues]
"""Makes keys and values, each ``BSHD``, of an encoded text, ``(B, S, width)``."""


class CrossAttend(Protocol):
    """Cross-attention as a layer is given it: the encoded text is settled already."""

    def __call__(self, query: Tensor, project: Project, *, dropout: float = 0.0) -> Tensor:
        """Mix the values of the encoded text by the similarity of ``query`` and its keys.

        Args:
            query: ``(batch, tokens, heads, width of a head)``.
            project: Makes keys and values of the encoded text, ``(texts, tokens, width)``; both ``(texts, tokens,
                heads, width of a head)``.  It is called where they are not cached.
            dropout: Probability with which a weight is dropped.

        Returns:
            The shape of ``query``.
        """
        ...


class Seq2SeqCache(StaticKeyValueCache):
    """A cache with room for the tokens of a decoder, and with the keys and values of the encoded texts.

    Only those of the decoder grow, and are reordered: sequences that answer one text have to stay neighbors.
    """

    def __init__(self, *, layers: int, batch: int, capacity: int) -> None:
        super().__init__(layers=layers, batch=batch, capacity=capacity)
        self.cross: dict[int, KeyValues] = {}
        """Keys and values of the encoded texts by layer, each ``BHSD``."""


Past: TypeAlias = KeyValueCache | Sequence[Sequence[Tensor]] | None
"""What a decoder has read: for each layer its keys and values, and then those of the encoded text."""


class CrossState:
    """Attention of one forward pass of a decoder to encoded texts.

    A model makes one for each call, next to its ``CausalState``, and hands ``attend_in(number)`` to the layer of that
    number.  A layer may be computed again, as gradient checkpointing does.

    Args:
        encoded: Output of the encoder, ``(B, S, width)``.
        mask: ``(B, S)``, zero at padding, which may be anywhere.
        past: What an earlier call returned, or a ``Seq2SeqCache``.
        use_cache: Whether the next call needs keys and values.

    Raises:
        InputError: The mask does not fit.
    """

    def __init__(
        self, encoded: Tensor, mask: Tensor | None = None, past: Past = None, *, use_cache: bool = True
    ) -> None:
        self._encoded = encoded
        self._tokens = 0
        self._mask = _mask_of(encoded, mask)
        self._cached = _cross_of(past)
        self._keeps = use_cache
        self._made = past.cross if isinstance(past, Seq2SeqCache) else dict(self._cached)

    def attend_in(self, layer: int) -> CrossAttend:
        """Cross-attention of the layer of this number."""
        return partial(self._attend, layer)

    def _attend(self, layer: int, query: Tensor, project: Project, *, dropout: float = 0.0) -> Tensor:
        keys, values = (x.transpose(-3, -2) for x in self._key_values(layer, project))  # BHSD -> BSHD
        if not is_traced() and (len(query) % len(keys) or keys.shape[-2:] != query.shape[-2:]):
            raise InputError(
                f"{len(query)} sequences of {query.shape[-2]} heads of {query.shape[-1]} cannot attend to {len(keys)} "
                f"encoded texts of {keys.shape[-2]} heads of {keys.shape[-1]}.",
                hint="As many sequences must answer each text.",
            )
        self._tokens = query.shape[1]
        together = query.reshape(keys.shape[0], -1, *query.shape[-2:])  # neighbors answer one text
        return self._mix(layer, together, keys, values, dropout).reshape(query.shape)

    def _key_values(self, layer: int, project: Project) -> KeyValues:
        """Keys and values of the texts, ``BHSD``; those of this call are made again, for their gradients."""
        if layer in self._cached:
            return self._cached[layer]
        keys, values = (x.transpose(-3, -2) for x in project(self._encoded))
        if self._keeps:  # for steps to come, which read one run of memory for each head
            self._made[layer] = keys, values = keys.contiguous(), values.contiguous()
        return keys, values

    def _mix(
        self,
        layer: int,  # noqa: ARG002  # used below
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        dropout: float,
    ) -> Tensor:
        return attention(query, keys, values, mask=self._mask, dropout=dropout)

    def past_key_values(self, own: Sequence[KeyValues]) -> Sequence[Any]:
        """What the next call continues from: the cache that was given, or for each layer four tensors.

        Args:
            own: Keys and values of the decoder, ``CausalState.past_key_values``.
        """
        if isinstance(own, Seq2SeqCache):
            return own
        return tuple((*pair, *self._made[layer]) for layer, pair in enumerate(own))

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """Weights of every layer, each ``(batch, H, T, S)``, where they are kept."""
        return None


class CrossStateWithWeights(CrossState):
    """The same, with the attention weights of every layer kept."""

    def __init__(
        self, encoded: Tensor, mask: Tensor | None = None, past: Past = None, *, use_cache: bool = True
    ) -> None:
        super().__init__(encoded, mask, past, use_cache=use_cache)
        self._weights: dict[int, Tensor] = {}

    def _mix(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        mixed, weights = eager_attention(query, keys, values, mask=self._mask, dropout=dropout)
        parted = weights.view(*weights.shape[:2], -1, self._tokens, weights.shape[-1])  # BH(nT)S -> BHnTS
        self._weights[layer] = parted.transpose(1, 2).flatten(0, 1)
        return mixed

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """Weights of every layer, each ``(batch, H, T, S)``."""
        return tuple(self._weights.values())


def _cross_of(past: Past) -> dict[int, KeyValues]:
    """Keys and values of encoded texts by layer, as far as a cache has them."""
    if isinstance(past, Seq2SeqCache):
        return dict(past.cross)
    return {layer: (entry[2], entry[3]) for layer, entry in enumerate(past or ()) if len(entry) > 3}


def _mask_of(encoded: Tensor, mask: Tensor | None) -> Tensor | None:
    """Which tokens can be attended to, ``(B, 1, 1, S)``; of a text that is all padding, all.  None for everywhere."""
    if mask is None:
        return None
    if mask.shape != encoded.shape[:2]:
        raise InputError(
            f"attention_mask must have the shape of the encoded texts, {tuple(encoded.shape[:2])}, not "
            f"{tuple(mask.shape)}."
        )
    check_mask(mask)
    tokens = mask != 0
    if can_branch_on(tokens) and tokens.all():
        return None
    return (tokens | ~tokens.any(dim=1, keepdim=True))[:, None, None, :]
