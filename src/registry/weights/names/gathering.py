"""From several tensors in a file to one, and from the tensors of a model back to those in a file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from attrs import evolve, field, frozen

from registry.errors import WeightsMismatchError
from registry.weights.names.lazy import Chain, LazyTensor, MappedTensor, Stack, Value, is_plain
from registry.weights.names.rules import Rule, filled
from registry.weights.names.stored import Operation, StoredTensor, same_name

if TYPE_CHECKING:
    from torch import Tensor


@frozen
class GatheredTensor(StoredTensor):
    """The origin of a tensor of ours that is several in the file; ``name`` is the first of its names there."""

    rule: Rule = field(kw_only=True)
    """The rule that gathers it."""
    groups: tuple[tuple[StoredTensor, ...], ...] = field(kw_only=True)
    """The tensors that are concatenated, once for each number over which they are stacked."""
    lacks: tuple[str, ...] = field(default=(), kw_only=True)
    """Names that the file should have as well."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names in the file."""
        return tuple(name for group in self.groups for stored in group for name in stored.names)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names that the file lacks."""
        return (*self.lacks, *(name for group in self.groups for stored in group for name in stored.missing))

    def _with(self, operations: tuple[Operation, ...], renamed: bool) -> Self:
        return evolve(self, operations=operations, renamed=renamed)

    def lazy(self, tensors: "Mapping[str, Tensor]") -> "Value":
        """The tensor, gathered when it is read, from what is left of its parts then."""
        return self.read(tensors) if self.operations else self._gathered(tensors)

    def _tensor(self, tensors: "Mapping[str, Tensor]") -> "Tensor":
        found = self._gathered(tensors)
        return found.read() if isinstance(found, Chain | Stack) else found

    def _gathered(self, tensors: "Mapping[str, Tensor]") -> "Value":
        read = [[stored.read(tensors) for stored in group] for group in self.groups]
        odd = [value for group in read for value in group if not is_plain(value)]
        if odd:
            return odd[0]  # is refused, with its type, where it is used
        groups = [[MappedTensor(value) for value in group] for group in read]
        self._check(groups)
        chains = [Chain(group, self.rule.dim) for group in groups]
        return chains[0] if self.rule.number is None else Stack(chains)

    def _check(self, groups: Sequence[Sequence[LazyTensor]]) -> None:
        """Raise WeightsMismatchError for tensors that do not fit together."""
        dim, first = self.rule.dim, groups[0][0]
        if len(groups[0]) > 1 and len(first.shape) <= dim:
            raise WeightsMismatchError(f"{self.rule}: a tensor of shape {first.shape} has no axis {dim}.")
        for group in groups:
            for part, like in zip(group, groups[0], strict=True):
                across = part.shape[:dim] + part.shape[dim + 1 :] == first.shape[:dim] + first.shape[dim + 1 :]
                if part.shape != like.shape or part.dtype != first.dtype or not across:
                    raise WeightsMismatchError(
                        f"{self.rule} gathers {len(self.names)} tensors, {self.names[0]} and others, but one is "
                        f"{first.dtype} of shape {first.shape}, and another {part.dtype} of {part.shape}."
                    )
        sizes = [part.shape[dim] for part in groups[0]] if len(groups[0]) > 1 else []
        if sizes and tuple(sizes) != self.rule.sizes_in(sum(sizes), len(sizes)):
            raise WeightsMismatchError(f"{self.rule} gathers tensors of {sizes} along axis {dim}, not of such sizes.")


MOST_HOLES = 1000
"""Numbers that may be missing between others: a name with a number far beyond the others belongs to no model."""
MOST_DIGITS = 12
"""Digits of a number that count."""


class Found:
    """The tensors of one row that are found, until all names are known."""

    def __init__(self, rule: Rule, words: Mapping[str, str]) -> None:
        self._rule, self._words = rule, words
        self._found: dict[tuple[int, str], StoredTensor] = {}

    def add(self, theirs: str, words: Mapping[str, str], stored: StoredTensor) -> None:
        """Add a tensor, whose name is ``theirs`` with these words.

        Raises:
            WeightsMismatchError: There is another of the name.
        """
        digits = "0" if self._rule.number is None else words[self._rule.number][:MOST_DIGITS]
        before = self._found.setdefault((int(digits), theirs), stored)
        if before is not stored:
            raise same_name(before, stored, filled(theirs, words))

    def stored(self) -> GatheredTensor:
        """The tensor, with the names that are missing between others.

        Raises:
            WeightsMismatchError: A number is far beyond the others.
        """
        rule, numbers = self._rule, range(max(number for number, _ in self._found) + 1)
        if len(numbers) > len(self._found) + MOST_HOLES:
            raise WeightsMismatchError(f"{rule}: among {len(self._found)} tensors, one has the number {numbers[-1]}.")
        wanted = [[(number, theirs) for theirs in rule.theirs] for number in numbers]
        groups = [tuple(self._found[key] for key in group if key in self._found) for group in wanted]
        lacks = [key for group in wanted for key in group if key not in self._found]
        return GatheredTensor(
            next(iter(self._found.values())).name,
            renamed=True,
            rule=rule,
            groups=tuple(filter(None, groups)),
            lacks=tuple(self._name(theirs, number) for number, theirs in lacks),
        )

    def _name(self, theirs: str, number: int) -> str:
        return filled(
            theirs, self._words if self._rule.number is None else {**self._words, self._rule.number: str(number)}
        )


# --- The inverse ------------------------------------------------------------------------------------------------------


class PublishedTensor(NamedTuple):
    """A tensor as files have it, and the names in the model from which it is made."""

    tensor: "Tensor"
    ours: tuple[str, ...]


def inverse(
    rule: Rule, words: Mapping[str, str], tensors: "Sequence[tuple[str, Tensor]]"
) -> dict[str, PublishedTensor]:
    """The tensors in the file that a rule makes of tensors in the model; views where it gathers, else a copy.

    Args:
        rule: The rule, with sizes that do not depend on a configuration.
        words: Values of the placeholders.
        tensors: Name and tensor for each of ``rule.ours``.

    Raises:
        WeightsMismatchError: The sizes do not fit.
    """
    from torch import cat

    names = tuple(name for name, _ in tensors)
    if len(rule.ours) > 1:
        made = cat([tensor for _, tensor in tensors], dim=rule.dim)
        rule.sizes_in(made.shape[rule.dim], len(rule.ours))
        return {filled(rule.theirs[0], words): PublishedTensor(made, names)}
    tensor = tensors[0][1]
    if not rule.gathers:
        return {filled(rule.theirs[0], words): PublishedTensor(tensor, names)}
    stack = [({}, tensor)] if rule.number is None else [({rule.number: str(n)}, one) for n, one in enumerate(tensor)]
    found: dict[str, PublishedTensor] = {}
    for number, one in stack:
        sizes = (
            (one.shape[rule.dim],) if len(rule.theirs) == 1 else rule.sizes_in(one.shape[rule.dim], len(rule.theirs))
        )
        for name, part in zip(rule.theirs, one.split(sizes, dim=rule.dim), strict=True):
            found[filled(name, {**words, **number})] = PublishedTensor(part, names)
    return found
