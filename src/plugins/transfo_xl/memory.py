"""What a Transformer-XL remembers of the tokens it has read.

For each layer, the hidden states that entered it; and, where no gradients are wanted, the keys and values that were
made of them, so that nothing is projected twice.

Axes:  B batch,  M remembered tokens,  T new tokens,  H heads,  W features,  D width of a head.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, overload

import torch
from attrs import evolve, frozen
from torch import Tensor

Stamp: TypeAlias = tuple[tuple[int, int], ...]
"""Where the weights of projections lie, and how often they were written to; others make other keys and values."""


class _Room:
    """Memory for rows, and how many of them are taken."""

    __slots__ = ("rows", "taken")

    def __init__(self, rows: Tensor, taken: int) -> None:
        self.rows = rows
        self.taken = taken


class Window:
    """The latest rows of something that grows, ``(..., rows, width)``.

    New rows are written behind it, without moving it, where there is room and nobody was there before; so windows that
    were taken earlier stay as they are, and may be continued in several ways.
    """

    __slots__ = ("_room", "_start", "_stop")

    def __init__(self, rows: Tensor) -> None:
        self._room = _Room(rows, rows.shape[-2])
        self._start, self._stop = 0, rows.shape[-2]

    @property
    def rows(self) -> Tensor:
        """The rows, as a view."""
        return self._room.rows.narrow(-2, self._start, self._stop - self._start)

    def __len__(self) -> int:
        return self._stop - self._start

    def part(self, start: int, stop: int) -> "Window":
        """The rows from ``start`` to before ``stop``."""
        return self._on(self._room, self._start + start, self._start + stop)

    def followed_by(self, new: Tensor) -> "Window":
        """These rows and ``new`` ones, ``(..., T, width)``."""
        start, stop = self._start, self._stop + new.shape[-2]
        room = self._room
        if room.taken != self._stop or stop > room.rows.shape[-2] or _is_closed(room.rows):
            room = self._copy(2 * len(self) + new.shape[-2])  # moved once for as many rows as it has
            start, stop = 0, stop - start
        room.rows.narrow(-2, room.taken, new.shape[-2]).copy_(new)
        room.taken = stop
        return self._on(room, start, stop)

    def _copy(self, capacity: int) -> _Room:
        rows = self.rows
        room = _Room(rows.new_empty(*rows.shape[:-2], capacity, rows.shape[-1]), len(self))
        room.rows.narrow(-2, 0, len(self)).copy_(rows)
        return room

    @classmethod
    def _on(cls, room: _Room, start: int, stop: int) -> "Window":
        window = cls.__new__(cls)
        window._room, window._start, window._stop = room, start, stop
        return window


def _is_closed(rows: Tensor) -> bool:
    """Whether torch lets nobody write here: not outside of inference mode into what was made in it."""
    return rows.is_inference() and not torch.is_inference_mode_enabled()


@frozen(eq=False)
class Memory(Sequence[Tensor]):
    """A memory; as a sequence, the hidden states of each layer, ``(B, M, W)``."""

    states: tuple[Window, ...]
    """For each layer ``(B, M, W)``."""
    pairs: tuple[Window, ...] = ()
    """For each layer its keys and values, ``(2, B, H, M, D)``; none where they are not kept."""
    distances: tuple[Tensor, ...] = ()
    """For each layer the projected distances; none where they are not kept."""
    stamp: Stamp = ()
    """The weights of which ``pairs`` and ``distances`` were made."""
    blank: bool = False
    """Whether nothing was read yet, so that all rows are zeros."""

    @classmethod
    def nothing(cls, layers: int, length: int, like: Tensor) -> "Memory":
        """The memory of a model that has read nothing, for features ``like`` those of its tokens, ``(B, T, W)``.

        It is full of zeros, which the published model attends to.
        """
        zeros = like.new_zeros(1, 1, 1).expand(len(like), length, like.shape[-1])
        return cls((Window(zeros),) * layers, blank=True)

    @classmethod
    def of(cls, states: Iterable[Tensor]) -> "Memory":
        """A memory of hidden states alone."""
        return cls(tuple(map(Window, states)))

    @overload
    def __getitem__(self, layer: int) -> Tensor: ...
    @overload
    def __getitem__(self, layer: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, layer: int | slice) -> Tensor | tuple[Tensor, ...]:
        """Hidden states of one layer, or of several."""
        return tuple(window.rows for window in self.states)[layer]

    def __len__(self) -> int:
        return len(self.states)

    @property
    def length(self) -> int:
        """Tokens that are remembered."""
        return len(self.states[0])

    def usable(self, stamp: Stamp) -> "Memory":
        """The memory without what other weights made, or all such where ``stamp`` is empty."""
        return self if stamp and self.stamp == stamp else Memory(self.states, blank=self.blank)

    def select(self, rows: Tensor) -> "Memory":
        """A memory whose text ``i`` is what text ``rows[i]`` was."""
        return evolve(
            self,
            states=tuple(Window(window.rows.index_select(0, rows)) for window in self.states),
            pairs=tuple(Window(window.rows.index_select(1, rows)) for window in self.pairs),
        )


class MemoryCache:
    """A memory that is replaced by each reading: what decoding goes on from."""

    def __init__(self) -> None:
        self.memory: Memory | None = None

    def reorder(self, rows: Tensor) -> None:
        """Let row ``i`` be what row ``rows[i]`` was; there may be more rows than before."""
        if self.memory is not None:
            self.memory = self.memory.select(rows)

    def clear(self) -> None:
        """Forget all tokens."""
        self.memory = None
