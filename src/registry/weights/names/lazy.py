"""Tensors of a file that are read only as far as they are used: a process that holds a slice reads that slice."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from torch import Tensor, dtype


def is_plain(value: Any) -> "TypeGuard[Tensor]":
    """Whether a value of a file is a tensor with values, one for each element."""
    from torch import Tensor, strided

    return isinstance(value, Tensor) and value.layout == strided and not value.is_quantized and not value.is_meta


class LazyTensor(Protocol):
    """A tensor of a file, as the model has it, of which a slice can be read without the rest."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def dtype(self) -> "dtype":
        """Its type."""
        ...

    def narrow(self, dim: int, start: int, length: int) -> "LazyTensor":
        """``length`` elements along an axis, from ``start`` on; reads nothing."""
        ...

    def read(self) -> "Tensor":
        """The values: a view of the file where it can be one."""
        ...

    def leaves(self) -> "Iterator[Tensor]":
        """The tensors that ``read`` reads, none of which is copied."""
        ...


class MappedTensor:
    """A tensor that is there, most often mapped from its file, so that a slice of it costs that slice."""

    def __init__(self, tensor: "Tensor") -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> "dtype":
        """Its type."""
        return self.tensor.dtype

    def narrow(self, dim: int, start: int, length: int) -> "MappedTensor":
        """A view of ``length`` elements along an axis."""
        return MappedTensor(self.tensor.narrow(dim, start, length))

    def read(self) -> "Tensor":
        """The tensor."""
        return self.tensor

    def leaves(self) -> "Iterator[Tensor]":
        """The tensor."""
        yield self.tensor


class Chain:
    """Tensors that are concatenated along an axis when they are read."""

    def __init__(self, parts: Sequence[LazyTensor], dim: int) -> None:
        self.parts = parts
        self.dim = dim

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        first = self.parts[0].shape
        total = sum(part.shape[self.dim] for part in self.parts)
        return (*first[: self.dim], total, *first[self.dim + 1 :])

    @property
    def dtype(self) -> "dtype":
        """The type of them all."""
        return self.parts[0].dtype

    def narrow(self, dim: int, start: int, length: int) -> "Chain":
        """``length`` elements along an axis, from ``start`` on."""
        if dim != self.dim:
            return Chain([part.narrow(dim, start, length) for part in self.parts], self.dim)
        kept, begin = [], 0
        for part in self.parts:
            first, last = max(start - begin, 0), min(start + length - begin, part.shape[dim])
            begin += part.shape[dim]
            if first < last:
                kept.append(part.narrow(dim, first, last - first))
        return Chain(kept or [self.parts[0].narrow(dim, 0, 0)], dim)

    def read(self) -> "Tensor":
        """The values, copied once; a single part is not a copy."""
        return self.parts[0].read() if len(self.parts) == 1 else _copied(self)

    def leaves(self) -> "Iterator[Tensor]":
        """The tensors that are concatenated."""
        for part in self.parts:
            yield from part.leaves()

    def write(self, target: "Tensor") -> None:
        """Write the values into a tensor of this shape."""
        start = 0
        for part in self.parts:
            size = part.shape[self.dim]
            target.narrow(self.dim, start, size).copy_(part.read())
            start += size


class Stack:
    """Tensors of one shape that are stacked in a new first axis when they are read."""

    def __init__(self, parts: Sequence[Chain]) -> None:
        self.parts = parts

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return (len(self.parts), *self.parts[0].shape)

    @property
    def dtype(self) -> "dtype":
        """The type of them all."""
        return self.parts[0].dtype

    def narrow(self, dim: int, start: int, length: int) -> "LazyTensor":
        """``length`` elements along an axis, from ``start`` on."""
        if dim:
            return Stack([part.narrow(dim - 1, start, length) for part in self.parts])
        return Stack(self.parts[start : start + length]) if length else MappedTensor(Stack(self.parts[:1]).read()[:0])

    def read(self) -> "Tensor":
        """The values, copied once."""
        return _copied(self)

    def leaves(self) -> "Iterator[Tensor]":
        """The tensors that are stacked, and concatenated before."""
        for part in self.parts:
            yield from part.leaves()

    def write(self, target: "Tensor") -> None:
        """Write the values into a tensor of this shape."""
        for part, place in zip(self.parts, target, strict=True):
            part.write(place)


Value: TypeAlias = "Tensor | Chain | Stack"
"""A tensor of a file, or several that are gathered when they are read."""


def _copied(gathered: Chain | Stack) -> "Tensor":
    from registry.weights.memory import empty  # which imports torch

    made = empty(gathered.shape, gathered.dtype)
    gathered.write(made)
    return made
