"""Reading the tensors that file and model both have, and the reasons why some of them do not fit."""

from collections.abc import Mapping
from typing import NamedTuple

from attrs import evolve
from torch import Tensor, equal, strided

from registry.loading.options import LoadOptions
from registry.loading.slots import FLOATS, Slot
from registry.weights.matching import Outcome, Pair, is_allowed
from registry.weights.names import Layout, StoredTensor
from registry.weights.names.lazy import Chain, Stack, Value

WITHOUT_VALUES = "sparse, quantized or without values in the file"


class Flaw(NamedTuple):
    """A tensor of the file that cannot be assigned."""

    name: str
    """The name in the model; of a tie, the first in the file."""
    reason: str
    part: str | None = None
    """The part of the model to which the tensor belongs; None for the backbone."""
    sizes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """The shapes in the file and in the model, where they differ."""
    twin: str | None = None
    """The other name in the file, where two names are of one tensor but have other numbers."""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.twin is None else f"{self.name} and {self.twin} ({self.reason})"


def read_values(
    outcomes: dict[Outcome, list[Pair]],
    slots: Mapping[str, Slot],
    tensors: Mapping[str, Tensor],
    options: LoadOptions,
    layout: Layout,
) -> tuple[list[tuple[Pair, Value]], list[Flaw]]:
    """Read the tensors that both sides have; return them, and the flaws of those that do not fit.

    One that does not fit its slot, and may be missing, changes its outcome from ``loaded`` to ``allowed_missing``.
    """
    values: list[tuple[Pair, Value]] = []
    flaws: list[Flaw] = []
    parts = set[str | None]().union(*(pair.parts_of_ours for pairs in outcomes.values() for pair in pairs))
    for pair in outcomes.pop("loaded"):
        theirs = {full: source for full, source in pair.theirs.items() if layout.part_of(full) in parts}
        pair, tensor, found = _read_pair(pair, theirs or pair.theirs, tensors, options, outcomes, slots[pair.names[0]])
        flaw = next(filter(None, (_unfit(pair, ours, tensor, slots[ours]) for ours in pair.names)), None)
        if flaw is not None and is_allowed(pair.names, options.allow_missing):
            outcomes["allowed_missing"].append(pair)
            continue
        flaws += [*([] if flaw is None else [flaw]), *found]
        values.append((pair, tensor))  # what is gathered is still to be read, by what the process needs of it
    outcomes["loaded"] = [pair for pair, _ in values]
    return values, flaws


def _read_pair(
    pair: Pair,
    needed: Mapping[str, StoredTensor],
    tensors: Mapping[str, Tensor],
    options: LoadOptions,
    outcomes: dict[Outcome, list[Pair]],
    slot: Slot,
) -> tuple[Pair, Value, list[Flaw]]:
    """The tensor of a pair, of its names in the file the most precise one, and those that differ from it.

    Only the ``needed`` names are compared, of parts that the model has: a class without the head needs no equal to the
    embedding.  A name which the caller allows to be unexpected is dropped where it differs.
    """
    if len(needed) == 1:  # as nearly always
        return pair, next(iter(needed.values())).lazy(tensors), []
    read = {full: source.read(tensors) for full, source in needed.items()}
    unequal = _unequal(read, slot)
    if unequal:
        extra = {full: needed[full] for full in read if is_allowed([needed[full].name], options.allow_unexpected)}
        if extra and len(extra) < len(read):
            outcomes["allowed_unexpected"].append(Pair(pair.part, {}, extra))
            pair = evolve(pair, theirs={full: source for full, source in pair.theirs.items() if full not in extra})
            read = {full: tensor for full, tensor in read.items() if full not in extra}
            unequal = _unequal(read, slot)
    flaws = [_differs(needed[one], needed[other]) for one, other in unequal]
    return pair, read[_most_precise(read)], flaws


def _differs(one: StoredTensor, other: StoredTensor) -> Flaw:
    return Flaw(name=one.name, twin=other.name, reason="tied, but not equal")


def _most_precise(read: Mapping[str, Tensor]) -> str:
    return max(read, key=lambda full: read[full].itemsize if isinstance(read[full], Tensor) else 0)


def _unequal(read: Mapping[str, Tensor], slot: Slot) -> list[tuple[str, str]]:
    """The names whose tensors differ, each with the name of the most precise one."""
    best = _most_precise(read)
    return [(best, name) for name, tensor in read.items() if name != best and not _equal(read[best], tensor, slot)]


def _equal(one: Tensor, other: Tensor, slot: Slot) -> bool:
    """Whether two tensors have the same numbers, at the precision of ``other``, in what this process has of them."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return False
    if one.dtype != other.dtype and not {one.dtype, other.dtype} <= FLOATS:
        return False
    if one.dtype == other.dtype and one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
        return True
    if tuple(one.shape) == slot.shape:
        one, other = slot.part_of(one), slot.part_of(other)
    return equal(one.to(other.dtype), other)


def _unfit(pair: Pair, name: str, tensor: object, slot: Slot) -> Flaw | None:
    """The reason why a tensor cannot replace that of a slot; None if it can."""
    wanted = slot.tensor
    if not isinstance(tensor, Tensor | Chain | Stack):
        reason = f"a {type(tensor).__name__} in the file, a tensor in the model"
    elif isinstance(tensor, Tensor) and (tensor.layout != strided or tensor.is_quantized or tensor.is_meta):
        reason = WITHOUT_VALUES
    elif tuple(tensor.shape) != slot.shape:
        sizes = tuple(tensor.shape), slot.shape
        reason = f"{sizes[0]} in the file, {sizes[1]} in the model"
        return Flaw(name=name, reason=reason, part=pair.part, sizes=sizes)
    elif tensor.dtype != wanted.dtype and not {tensor.dtype, wanted.dtype} <= FLOATS:
        reason = f"{tensor.dtype} in the file, {wanted.dtype} in the model"
    else:
        return None
    return Flaw(name=name, reason=reason, part=pair.part)
