"""What a causal model remembers of the tokens it has seen: the key and the value of each, in every layer.

Axes:  B batch,  H heads,  T new tokens,  S tokens so far, the new ones included,  D width of a head.

Two kinds of memory, which a model uses alike.  ``KeyValueCache`` has room for a text that is about to be written, and
is written in place; ``KeyValuePairs`` are plain tensors, joined anew with every call, through which gradients flow.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Self, TypeAlias, overload

import torch
from torch import Tensor

from registry.errors import InputError

KeyValues: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one layer, each ``BHSD``; one tensor with an axis of 2 in front does as well."""


class Past(Sequence[KeyValues]):
    """A memory of tokens; as a sequence, the keys and values of each layer."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens so far."""

    @abstractmethod
    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Remember ``key`` and ``value`` of new tokens, ``BHTD``; return those of all tokens so far, ``BHSD``.

        Layers are asked in their order; ``length`` advances with the last of them.
        """

    @overload
    def __getitem__(self, layer: int) -> KeyValues: ...
    @overload
    def __getitem__(self, layer: slice) -> tuple[KeyValues, ...]: ...
    def __getitem__(self, layer: int | slice) -> KeyValues | tuple[KeyValues, ...]:
        """Keys and values of one layer, or of several."""
        return self._seen()[layer]

    def __iter__(self) -> Iterator[KeyValues]:
        return iter(self._seen())

    def __len__(self) -> int:
        return len(self._seen())

    @abstractmethod
    def _seen(self) -> tuple[KeyValues, ...]:
        """Keys and values of all layers."""


class KeyValueCache(Past):
    """Memory for ``capacity`` tokens, allocated once.

    The tokens of a head lie side by side, so that a step of decoding reads one run of memory for each.  What it gives
    are views, which later calls overwrite.
    """

    def __init__(
        self,
        *,
        layers: int,
        batch: int,
        heads: int,
        width: int,
        capacity: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self._memory = torch.empty(layers, 2, batch, heads, capacity, width, dtype=dtype, device=device)
        self._layers = [(keys, values) for keys, values in self._memory.unbind()]
        self._length = 0
        self.capacity = capacity

    @classmethod
    def from_tuples(cls, pairs: Iterable[KeyValues], *, capacity: int | None = None) -> Self:
        """A cache which holds a copy of ``pairs``, one for each layer; with room for no more, unless told otherwise."""
        pairs = [(key, value) for key, value in pairs]
        key, _ = pairs[0]
        batch, heads, tokens, width = key.shape
        cache = cls(
            layers=len(pairs),
            batch=batch,
            heads=heads,
            width=width,
            capacity=capacity or tokens,
            dtype=key.dtype,
            device=key.device,
        )
        for layer, (key, value) in enumerate(pairs):
            cache.append(layer, key.detach(), value.detach())
        return cache

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._length

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Write ``key`` and ``value``, ``BHTD``, behind what is there; return views of all, ``BHSD``.

        Raises InputError for another number of sequences, where the room does not suffice, and where gradients would be
        lost.
        """
        keys, values = self._layers[layer]
        start, new = self._length, key.shape[-2]
        if len(key) != len(keys):
            raise InputError(f"The cache is for a batch of {len(keys)} sequences, not of {len(key)}.")
        if start + new > self.capacity:
            raise InputError(f"The cache has room for {self.capacity} tokens, not for {start} and {new} more.")
        if key.requires_grad:
            raise InputError(
                "A KeyValueCache is written in place, which gradients do not survive.",
                hint="Compute under torch.inference_mode(), or leave past_key_values out.",
            )
        keys.narrow(-2, start, new).copy_(key)
        values.narrow(-2, start, new).copy_(value)
        if layer == len(self._layers) - 1:
            self._length = start + new
        return keys.narrow(-2, 0, start + new), values.narrow(-2, 0, start + new)

    def reorder(self, rows: Tensor) -> None:
        """Let row ``i`` of the batch be what row ``rows[i]`` was; memory is allocated anew where their number differs.

        So beams are chosen anew, and so several texts go on from one prompt that was read once.
        """
        before = self._seen()
        if len(rows) != self._memory.shape[2]:
            self._memory = self._memory.new_empty(*self._memory.shape[:2], len(rows), *self._memory.shape[3:])
            self._layers = [(keys, values) for keys, values in self._memory.unbind()]
        for (keys, values), (old_keys, old_values) in zip(self._seen(), before, strict=True):
            keys.copy_(old_keys.index_select(0, rows))
            values.copy_(old_values.index_select(0, rows))

    def clear(self) -> None:
        """Forget all tokens; the room stays."""
        self._length = 0

    def _seen(self) -> tuple[KeyValues, ...]:
        return tuple(
            (keys.narrow(-2, 0, self._length), values.narrow(-2, 0, self._length)) for keys, values in self._layers
        )


class KeyValuePairs(Past):
    """Memory that grows: what was remembered before stays as it was, and may be continued in several ways."""

    def __init__(self, pairs: Iterable[KeyValues] = ()) -> None:
        self._before = tuple((key, value) for key, value in pairs)
        self._after: list[KeyValues] = []

    @property
    def length(self) -> int:
        """Tokens so far."""
        seen = self._seen()
        return seen[0][0].shape[-2] if seen else 0

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeyValues:
        """Join ``key`` and ``value``, ``BHTD``, to what is there; return all, ``BHSD``."""
        if self._before:
            keys, values = self._before[layer]
            key, value = torch.cat([keys, key], dim=-2), torch.cat([values, value], dim=-2)
        self._after.append((key, value))
        return key, value

    def _seen(self) -> tuple[KeyValues, ...]:
        return tuple(self._after) or self._before
