"""The share of a tensor that one process holds, as ranges of indices in the published tensor.

The one place where tensors are cut: loading reads a share, saving puts shares together, checkpoints store them under
published names and shapes, and a plan adds up their sizes.

A layer that makes several sets of features side by side (queries, keys and values) has a parameter with an axis more
than the published tensor: ``(in, 3 * out)`` is ``(in, 3, out)`` in a process, so that each set is divided for itself.
That axis is called fused; a share has several ranges on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, product
from math import prod
from typing import Any, NamedTuple, TypeAlias

from registry.errors import ParallelError

Range: TypeAlias = tuple[int, int]
"""Start and stop on one axis."""

FUSED = "fused_axes"
"""The attribute of a module that maps the keys of its parameters to the fused axis of the published tensor."""


class Piece(NamedTuple):
    """A block of a share: contiguous indices on every axis."""

    offsets: tuple[int, ...]
    """Where it begins in the complete tensor."""
    local: tuple[int, ...]
    """Where it begins in the share."""
    sizes: tuple[int, ...]


class Share(NamedTuple):
    """Which elements of a tensor one process holds."""

    shape: tuple[int, ...]
    """The shape of the complete tensor, as published."""
    ranges: tuple[tuple[Range, ...], ...]
    """The ranges on each axis."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of the share, with the axes of the published tensor."""
        return tuple(sum(stop - start for start, stop in ranges) for ranges in self.ranges)

    @property
    def numel(self) -> int:
        """Elements of the share."""
        return prod(self.sizes)

    @property
    def is_complete(self) -> bool:
        """Whether it is the complete tensor."""
        return self.sizes == self.shape

    def of(self, tensor: Any) -> Any:
        """Cut the share out of a complete tensor: a view where that is one block, else a copy of this share alone."""
        for axis, ranges in sorted(enumerate(self.ranges), key=lambda pair: len(pair[1])):  # copies are made last
            if ranges != ((0, self.shape[axis]),):
                parts = [tensor.narrow(axis, start, stop - start) for start, stop in ranges]
                tensor = parts[0] if len(parts) == 1 else _joined(parts, axis)
        return tensor

    def around(self, tensor: Any) -> Any:
        """The smallest block of a complete tensor that has the share in it: a view."""
        for axis, ranges in enumerate(self.ranges):
            tensor = tensor.narrow(axis, ranges[0][0], ranges[-1][1] - ranges[0][0])
        return tensor

    def pieces(self) -> Iterator[Piece]:
        """The blocks of the share that have elements."""
        placed = [_placed(ranges) for ranges in self.ranges]
        for combination in product(*placed):
            piece = Piece(*(tuple(numbers) for numbers in zip(*combination, strict=True))) if combination else _SCALAR
            if all(piece.sizes):
                yield piece

    def put(self, local: Any, complete: Any) -> None:
        """Copy a share, in the shape ``sizes``, to where it belongs in a complete tensor."""
        for piece in self.pieces():
            complete[_slices(piece.offsets, piece.sizes)] = local[_slices(piece.local, piece.sizes)]


def _joined(parts: list[Any], axis: int) -> Any:
    import torch  # plans are computed without it

    from registry.weights.memory import empty

    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return torch.cat(parts, dim=axis, out=empty(shape, parts[0].dtype))


_SCALAR = Piece((), (), ())


def _slices(starts: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def _placed(ranges: Sequence[Range]) -> list[tuple[int, int, int]]:
    """For each range its start, its start in the share, and its length."""
    lengths = [stop - start for start, stop in ranges]
    return [
        (start, local, length)
        for (start, _), local, length in zip(ranges, accumulate([0, *lengths[:-1]]), lengths, strict=True)
    ]


# --- From placements to shares ----------------------------------------------------------------------------------------


class Cut(NamedTuple):
    """One division of a parameter's axis among processes, in the order in which they are made."""

    axis: int
    """Of the parameter, not of the published tensor."""
    number: int
    """The number of this process."""
    processes: int
    """How many there are."""


def portion(start: int, stop: int, number: int, processes: int) -> Range:
    """The range that a process has of a larger one: equal ones, rounded up, as ``torch.chunk`` makes them."""
    size = -(-(stop - start) // processes)
    first = min(start + size * number, stop)
    return first, min(first + size, stop)


def share(shape: Sequence[int], cuts: Sequence[Cut], fused: int | None = None) -> Share:
    """The share of one process.

    Args:
        shape: The shape of the parameter, with the additional axis where one is fused.
        cuts: How it is divided.
        fused: The fused axis of the published tensor; it is two axes of the parameter.
    """
    ranges = [(0, size) for size in shape]
    for cut in cuts:
        ranges[cut.axis] = portion(*ranges[cut.axis], cut.number, cut.processes)
    if fused is None:
        return Share(tuple(shape), tuple((one,) for one in ranges))
    (first, last), (start, stop), size = ranges[fused], ranges[fused + 1], shape[fused + 1]
    joined = tuple((part * size + start, part * size + stop) for part in range(first, last)) or ((0, 0),)
    published = (*shape[:fused], shape[fused] * size, *shape[fused + 2 :])
    plain = [(one,) for one in ranges]
    return Share(published, (*plain[:fused], joined, *plain[fused + 2 :]))


def with_fused_axis(shape: Sequence[int], fused: int, parts: int) -> tuple[int, ...]:
    """The shape of a parameter whose published tensor has ``shape``, with ``parts`` sets of features on one axis."""
    return (*shape[:fused], parts, shape[fused] // parts, *shape[fused + 1 :])


def is_divided(tensor: Any) -> bool:
    """Whether a tensor is a DTensor, of which a process has a part; torch.distributed is not imported for it."""
    return hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def share_of(tensor: Any, fused: int | None = None, coordinate: Sequence[int] | None = None) -> Share:
    """The share that a process has of a DTensor.

    Args:
        tensor: The DTensor.
        fused: Its fused axis, in the published tensor.
        coordinate: The process, by its coordinate in the mesh; None for this one.

    Raises:
        ParallelError: The tensor is placed in a way in which no parameter of the registry is.
    """
    mesh = tensor.device_mesh
    at = mesh.get_coordinate() if coordinate is None else coordinate
    strided = any(hasattr(placement, "split_factor") for placement in tensor.placements)
    order = range(mesh.ndim - 1, -1, -1) if strided else range(mesh.ndim)  # FSDP divides what tensor parallelism left
    cuts = []
    for number in order:
        placement = tensor.placements[number]
        if placement.is_shard() or hasattr(placement, "split_factor"):
            cuts.append(Cut(placement.dim, at[number], mesh.size(number)))
        elif not placement.is_replicate():
            raise ParallelError(f"A parameter is placed as {placement}, neither divided nor complete.")
    return share(tensor.shape, cuts, fused)


def fused_axis(module: Any, key: str) -> int | None:
    """The fused axis of a parameter of a module; None for nearly all."""
    found: int | None = vars(module).get(FUSED, {}).get(key)
    return found


def local_of(tensor: Any) -> Any:
    """The part of a DTensor that is in this process; a plain tensor as it is."""
    return tensor.detach().to_local() if is_divided(tensor) else tensor.detach()


def parameter_like(local: Any, like: Any, requires_grad: bool) -> Any:
    """A parameter with the values of a share, placed as a DTensor of the same shape.

    It is made of the other's placement as FSDP makes its own: ``DTensor.from_local`` and ``nn.Parameter`` take several
    times as long.
    """
    from torch.distributed.tensor import DTensor  # only for divided models

    spec = like._spec
    if local.dtype != like.dtype:
        spec = replace(spec, tensor_meta=spec.tensor_meta._replace(dtype=local.dtype))
    make: Any = DTensor.__new__  # its ``__init__`` does nothing
    made = make(DTensor, local.reshape(like._local_tensor.shape), spec, requires_grad=requires_grad)
    made._is_param = True  # by which ``isinstance(made, nn.Parameter)``
    return made


def own_class(model: Any) -> type[Any]:
    """The class of a model as its author wrote it: without those that divide it, here or in torch (FSDP)."""
    hidden = ("registry.sharding.", "torch.distributed.")
    return next(cls for cls in type(model).__mro__ if not cls.__module__.startswith(hidden))
