"""Keys and values of the tokens that a causal model has read, in every layer.

Axes:  B batch,  H heads,  T new tokens,  S tokens so far, the new ones included,  D width of a head.

Three kinds, which a model uses alike.  ``StaticKeyValueCache`` has room for a text that will be generated, and is
written in place; ``DynamicKeyValueCache`` is plain tensors, concatenated in every call, through which gradients flow;
``FixedKeyValueCache`` keeps nothing of a call, as training wants it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Self, TypeAlias, overload

import torch
from torch import Tensor

from registry.errors import InputError
from registry.nn.inputs import is_traced

KeyValues: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one layer, each ``BHSD``; one tensor with an axis of 2 in front does as well.

What a model is given may have more behind them, as an entry of a cache of transformers has."""


def _pairs_of(entries: Iterable[KeyValues]) -> tuple[KeyValues, ...]:
    return tuple((key, value) for key, value, *_ in entries)


class KeyValueCache(Sequence[KeyValues]):
    """A cache of tokens; as a sequence, the keys and values of each layer."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens so far."""

    @abstractmethod
    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Append the keys and values of new tokens; ``length`` advances with the last layer.

        Args:
            layer: Number of the layer; layers append in their order.
            key: ``BHTD``.
            value: ``BHTD``.

        Returns:
            Keys and values of all tokens so far, each ``BHSD``.
        """

    @overload
    def __getitem__(self, layer: int) -> KeyValues: ...
    @overload
    def __getitem__(self, layer: slice) -> tuple[KeyValues, ...]: ...
    def __getitem__(self, layer: int | slice) -> KeyValues | tuple[KeyValues, ...]:
        """Keys and values of one layer, or of several."""
        return self._pairs()[layer]

    def __iter__(self) -> Iterator[KeyValues]:
        return iter(self._pairs())

    def __len__(self) -> int:
        return len(self._pairs())

    @abstractmethod
    def _pairs(self) -> tuple[KeyValues, ...]:
        """Keys and values of all layers."""


class StaticKeyValueCache(KeyValueCache):
    """A cache with room for ``capacity`` tokens, which is allocated once.

    Heads, their width, type and device are those of the first key.  The tokens of a head are contiguous, so that a step
    of decoding reads one run of memory for each.  What the cache returns are views, which later calls overwrite.

    Args:
        layers: Layers of the model.
        batch: Sequences.
        capacity: Tokens of each sequence.
    """

    def __init__(self, *, layers: int, batch: int, capacity: int) -> None:
        self._layers: list[KeyValues] = []  # with their room
        self._num_layers = layers
        self._length = 0
        self.batch = batch
        self.capacity = capacity

    @classmethod
    def from_tuples(cls, pairs: Iterable[KeyValues], *, capacity: int | None = None) -> Self:
        """A cache with a copy of ``pairs``, one for each layer; ``capacity`` is their length unless given."""
        pairs = _pairs_of(pairs)
        batch, _, tokens, _ = pairs[0][0].shape
        cache = cls(layers=len(pairs), batch=batch, capacity=capacity or tokens)
        for layer, (key, value) in enumerate(pairs):
            cache.append(layer, key.detach(), value.detach())
        return cache

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._length

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Write the keys and values of new tokens after those of the cache; ``length`` advances with the last layer.

        Args:
            layer: Number of the layer; layers append in their order.
            key: ``BHTD``.
            value: ``BHTD``.

        Returns:
            Views of the keys and values of all tokens so far, each ``BHSD``.

        Raises:
            InputError: The number of sequences is another one, there is no room, or gradients would be lost.
        """
        start, new = self._length, key.shape[-2]
        self._check(key)
        if layer == len(self._layers):
            self._layers.append((self._room(key), self._room(value)))
        keys, values = self._layers[layer]
        keys.narrow(-2, start, new).copy_(key)
        values.narrow(-2, start, new).copy_(value)
        if layer == self._num_layers - 1:
            self._length = start + new
        return keys.narrow(-2, 0, start + new), values.narrow(-2, 0, start + new)

    def _check(self, key: Tensor) -> None:
        if len(key) != self.batch:
            raise InputError(f"The cache is for a batch of {self.batch} sequences, not of {len(key)}.")
        start, new = self._length, key.shape[-2]
        if start + new > self.capacity:
            raise InputError(f"The cache has room for {self.capacity} tokens, not for {start} and {new} more.")
        if key.requires_grad:
            raise InputError(
                "A StaticKeyValueCache is written in place, which gradients do not survive.",
                hint="Compute under torch.inference_mode(), or leave past_key_values out.",
            )

    def _room(self, like: Tensor) -> Tensor:
        """Memory for all tokens of a layer, ``(B, H, capacity, D)``."""
        shape = (self.batch, like.shape[1], self.capacity, like.shape[-1])
        if not torch.is_inference_mode_enabled():
            return like.new_empty(shape)
        with torch.inference_mode(False):  # a cache that is filled in this mode may be continued outside of it
            return torch.empty(shape, dtype=like.dtype, device=like.device)

    def reorder(self, rows: Tensor) -> None:
        """Make row ``i`` of the batch what row ``rows[i]`` was; memory is allocated again where their number differs.

        Beam search selects its beams by it, and several samples continue one prompt that was read once.
        """
        before = self._pairs()
        if len(rows) != self.batch:
            self.batch = len(rows)
            self._layers = [(self._room(keys), self._room(values)) for keys, values in self._layers]
        for (keys, values), (old_keys, old_values) in zip(self._pairs(), before, strict=True):
            keys.copy_(old_keys.index_select(0, rows))
            values.copy_(old_values.index_select(0, rows))

    def clear(self) -> None:
        """Drop all tokens; the room stays."""
        self._length = 0

    def _pairs(self) -> tuple[KeyValues, ...]:
        return tuple(
            (keys.narrow(-2, 0, self._length), values.narrow(-2, 0, self._length)) for keys, values in self._layers
        )


class FixedKeyValueCache(KeyValueCache):
    """Earlier tokens to which new ones attend, but are not appended: nothing of a call outlives it.

    Args:
        pairs: Keys and values of each layer; none at the beginning of a text.
    """

    def __init__(self, pairs: Iterable[KeyValues] = ()) -> None:
        self._before = _pairs_of(pairs)

    @property
    def length(self) -> int:
        """Tokens so far."""
        pairs = self._pairs()
        return pairs[0][0].shape[-2] if pairs else 0

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Concatenate keys and values of new tokens, ``BHTD``, to those of the layer; return all, ``BHSD``."""
        if not self._before:
            return key, value
        if layer >= len(self._before):
            raise InputError(f"past_key_values are of {len(self._before)} layers, and the model has more.")
        keys, values = self._before[layer]
        if not is_traced() and keys.shape[:2] != key.shape[:2]:  # sizes that are traced are tensors
            raise InputError(
                f"past_key_values are of {keys.shape[0]} sequences and {keys.shape[1]} heads, the new tokens of "
                f"{key.shape[0]} and {key.shape[1]}."
            )
        return torch.cat([keys, key], dim=-2), torch.cat([values, value], dim=-2)

    def _pairs(self) -> tuple[KeyValues, ...]:
        return self._before


class DynamicKeyValueCache(FixedKeyValueCache):
    """A cache that grows; the pairs it was made of stay as they were, and may be continued in several ways."""

    def __init__(self, pairs: Iterable[KeyValues] = ()) -> None:
        super().__init__(pairs)
        self._after: dict[int, KeyValues] = {}  # by layer, so that a layer may be computed again

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Concatenate keys and values of new tokens, ``BHTD``, to those of the layer; return all, ``BHSD``."""
        self._after[layer] = super().append(layer, key, value)
        return self._after[layer]

    def _pairs(self) -> tuple[KeyValues, ...]:
        return tuple(self._after.values()) or self._before


def cache_after(
    past: KeyValueCache | Iterable[KeyValues] | None, wanted: bool | None, layers: int | None = None
) -> KeyValueCache:
    """The cache of a forward pass after ``past``, to which its tokens are appended where that is ``wanted``.

    Raises:
        InputError: The past is of another number of layers than ``layers``.
    """
    kind = DynamicKeyValueCache if wanted else FixedKeyValueCache
    cache = past if wanted and isinstance(past, KeyValueCache) else kind(past or ())
    if layers is not None and len(cache) not in (0, layers):
        raise InputError(f"past_key_values are of {len(cache)} layers, where the model has {layers}.")
    return cache
