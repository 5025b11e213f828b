"""The memory of Transformer-XL: for each layer, the hidden states of earlier tokens that enter it (section 3.2).

Where no gradients are wanted, the keys and values that were projected from them are kept too, and the projected
distances, so that nothing is projected twice.

Axes:  B batch,  M tokens of the memory,  T new tokens,  H heads,  W features,  D width of a head.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias, overload

import torch
from attrs import define, evolve
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.inputs import carries_hook, is_traced

ProjectionKey: TypeAlias = tuple[object, ...]
"""What projections depend on: memory and version of each weight, the largest distance, autocast."""


# --- Rows that grow ---------------------------------------------------------------------------------------------------


class RowBuffer:
    """Memory for rows, ``(..., capacity, width)``, of which the first ``used`` are written."""

    __slots__ = ("rows", "used")

    def __init__(self, rows: Tensor, used: int) -> None:
        self.rows = rows
        self.used = used


class RowWindow:
    """The latest rows of something that grows, ``(..., rows, width)``.

    New rows are written behind it, without moving it, where there is capacity and nothing was written there before; so
    earlier windows stay as they are, and may be continued in several ways.
    """

    __slots__ = ("_buffer", "_start", "_stop")

    def __init__(self, rows: Tensor) -> None:
        self._buffer = RowBuffer(rows, rows.shape[-2])
        self._start, self._stop = 0, rows.shape[-2]

    @property
    def rows(self) -> Tensor:
        """The rows, as a view."""
        return self._buffer.rows.narrow(-2, self._start, self._stop - self._start)

    @property
    def length(self) -> int:
        """How many rows there are."""
        return self._stop - self._start

    def part(self, start: int, stop: int) -> "RowWindow":
        """The rows from ``start`` to before ``stop``."""
        return self._on(self._buffer, self._start + start, self._start + stop)

    def joined(self, new: Tensor) -> "RowWindow":
        """These rows and ``new`` ones, ``(..., T, width)``, in memory of their own."""
        return RowWindow(torch.cat([self.rows, new], dim=-2))

    def followed_by(self, new: Tensor) -> "RowWindow":
        """These rows and ``new`` ones, ``(..., T, width)``."""
        start, stop = self._start, self._stop + new.shape[-2]
        buffer = self._buffer
        if buffer.used != self._stop or stop > buffer.rows.shape[-2] or _is_read_only(buffer.rows):
            buffer = self._copy(2 * self.length + new.shape[-2])  # moved once for as many rows as it has
            start, stop = 0, stop - start
        buffer.rows.narrow(-2, buffer.used, new.shape[-2]).copy_(new)
        buffer.used = stop
        return self._on(buffer, start, stop)

    def _copy(self, capacity: int) -> RowBuffer:
        rows = self.rows
        buffer = RowBuffer(rows.new_empty(*rows.shape[:-2], capacity, rows.shape[-1]), self.length)
        buffer.rows.narrow(-2, 0, self.length).copy_(rows)
        return buffer

    @classmethod
    def _on(cls, buffer: RowBuffer, start: int, stop: int) -> "RowWindow":
        window = cls.__new__(cls)
        window._buffer, window._start, window._stop = buffer, start, stop
        return window


def _is_read_only(rows: Tensor) -> bool:
    """Whether torch refuses to write here: outside of inference mode to what was made in it."""
    return rows.is_inference() and not torch.is_inference_mode_enabled()


# --- The memory -------------------------------------------------------------------------------------------------------


class LayerMemory(NamedTuple):
    """The part of the memory that one layer reads, and what the layer projected from it."""

    states: RowWindow
    """``(B, M, W)``."""
    keys_values: RowWindow | None = None
    """``(2, B, H, M, D)``; None where they are not kept."""
    distances: Tensor | None = None
    """Projected distances, ``(H, D, distances)``; None where they are not kept."""

    def part(self, start: int, stop: int) -> "LayerMemory":
        """The tokens from ``start`` to before ``stop``."""
        kept = self.keys_values
        return LayerMemory(self.states.part(start, stop), kept and kept.part(start, stop), self.distances)

    def select(self, rows: Tensor) -> "LayerMemory":
        """The memory in which sequence ``i`` is what sequence ``rows[i]`` was."""
        kept = self.keys_values
        return LayerMemory(
            RowWindow(self.states.rows.index_select(0, rows)),
            kept and RowWindow(kept.rows.index_select(1, rows)),
            self.distances,
        )


@define(eq=False)
class Memory(Sequence[Tensor]):
    """The memory of a model; as a sequence, the hidden states of each layer, ``(B, M, W)``."""

    layers: tuple[LayerMemory, ...]
    projected_by: ProjectionKey = ()
    """What keys, values and distances depend on; empty where none are kept."""
    blank: bool = False
    """Whether nothing was read yet, so that all rows are zeros."""
    grows: bool = False
    """Whether all tokens stay, as in the generation of a model without memory, which attends to the whole text."""
    skipped: Tensor | None = None
    """In a memory that grows, the number of the first tokens of each sequence that are padding, ``(B,)``."""

    @classmethod
    def nothing(cls, layers: int, length: int, like: Tensor, *, grows: bool = False) -> "Memory":
        """The memory of a model that has read nothing: zeros, to which the published model attends.

        Args:
            layers: How many layers there are.
            length: M.
            like: Features of new tokens, ``(B, T, W)``.
            grows: Whether all tokens will stay.
        """
        zeros = like.new_zeros(1, 1, 1).expand(like.shape[0], length, like.shape[-1])
        return cls((LayerMemory(RowWindow(zeros)),) * layers, blank=True, grows=grows)

    @classmethod
    def of(cls, states: Iterable[Tensor]) -> "Memory":
        """A memory of hidden states alone, ``(B, M, W)`` for each layer."""
        return cls(tuple(LayerMemory(RowWindow(rows)) for rows in states))

    @classmethod
    def before(cls, x: Tensor, mems: Iterable[Tensor] | None, *, layers: int, length: int) -> "Memory":
        """The memory that a caller gives, checked; where none is given, that of a model that has read nothing.

        Args:
            x: Features of new tokens, ``(B, T, W)``.
            mems: A memory, or hidden states for each layer, ``(B, M, W)``; None for none.
            layers: How many layers there are.
            length: M, where nothing was read.

        Raises:
            InputError: There are not as many tensors as layers, or one has another shape.
        """
        if mems is None:
            return cls.nothing(layers, length, x)
        if isinstance(mems, Memory) and mems.grows and not mems.layers:
            return cls.nothing(layers, 0, x, grows=True)
        if not isinstance(mems, Memory):
            mems = list(mems)
            if any(not isinstance(state, Tensor) for state in mems):
                raise InputError("mems must be tensors, one for each layer; omit them at the beginning of a text.")
        memory = mems if isinstance(mems, Memory) else cls.of(state.detach().to(x.dtype) for state in mems)
        wanted = (x.shape[0], memory.length if len(memory) else 0, x.shape[-1])
        if len(memory) != layers or any(state.shape != wanted for state in memory):
            raise InputError(
                f"mems must have {layers} tensors of shape {wanted[:1]} + (cached tokens,) + {wanted[2:]}, not "
                f"{[tuple(state.shape) for state in memory][:3]}.",
                hint="Those of pytorch-pretrained-bert have the axis of the batch second: mem.transpose(0, 1) fits.",
            )
        return memory

    @overload
    def __getitem__(self, layer: int) -> Tensor: ...
    @overload
    def __getitem__(self, layer: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, layer: int | slice) -> Tensor | tuple[Tensor, ...]:
        """Hidden states of one layer, or of several."""
        return tuple(memory.states.rows for memory in self.layers)[layer]

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def length(self) -> int:
        """M."""
        return self.layers[0].states.length

    def usable(self, key: ProjectionKey) -> "Memory":
        """The memory without what was projected otherwise; of hidden states alone where ``key`` is empty."""
        if key and self.projected_by == key:
            return self
        return evolve(self, layers=tuple(LayerMemory(layer.states) for layer in self.layers), projected_by=())

    def select(self, rows: Tensor) -> "Memory":
        """The memory in which sequence ``i`` is what sequence ``rows[i]`` was."""
        skipped = None if self.skipped is None else self.skipped.index_select(0, rows)
        return evolve(self, layers=tuple(layer.select(rows) for layer in self.layers), skipped=skipped)

    def as_output(self) -> Sequence[Tensor]:
        """The memory as an output of the model; plain tensors, where operations are recorded."""
        return tuple(self) if is_traced() else self


def projection_key(nets: Sequence[nn.Module], clamp_len: int, device: str) -> ProjectionKey:
    """What keys, values and projected distances depend on; empty where they are not kept.

    They are kept where no gradients are wanted, unless a tool has changed a layer that makes them: nothing here could
    notice that an adapter is switched off.

    Args:
        nets: The layers that make them.
        clamp_len: The largest distance.
        device: The type of the device.
    """
    if torch.is_grad_enabled() or is_traced():
        return ()
    if not all(type(net) in (nn.Linear, nn.LayerNorm) for net in nets) or carries_hook(*nets):
        return ()
    weights = [weight for net in nets for weight in net._parameters.values() if weight is not None]
    versions = (0 if weight.is_inference() else weight._version for weight in weights)
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return (clamp_len, autocast, *(weight.data_ptr() for weight in weights), *versions)


class MemoryCache:
    """The cache of decoding: a memory, which is replaced whenever tokens are read.

    Args:
        grows: Whether all tokens stay in it.
    """

    def __init__(self, *, grows: bool = False) -> None:
        self._empty = Memory((), grows=True) if grows else None
        self.memory: Memory | None = self._empty

    def reorder(self, rows: Tensor) -> None:
        """Make sequence ``i`` what sequence ``rows[i]`` was; there may be more sequences than before."""
        if self.memory is not None:
            self.memory = self.memory.select(rows)

    def clear(self) -> None:
        """Drop all tokens."""
        self.memory = self._empty
