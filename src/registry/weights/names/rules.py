"""Rows of tables of names that have an exact inverse: they make one tensor of several, or several of one, or rename.

A file may keep experts one by one where a model has them in one tensor, and a projection of queries, keys and values in
one tensor where a model has three.  Reading a part is a view of the tensor in the file; gathering copies once.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from registry.errors import WeightsMismatchError

if TYPE_CHECKING:
    from torch import Tensor

Sizes: TypeAlias = tuple[int, ...] | Callable[[Any], Sequence[int]] | None
"""Sizes along an axis: given, computed from the configuration, or None for equal ones."""

NUMBERS = ("i", "j", "k")
"""Placeholders that stand for a number; every other word stands for a name of one part or several."""
PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def words_of(template: str) -> tuple[str, ...]:
    """The placeholders of a name, each once."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(template)))


def filled(template: str, words: Mapping[str, str]) -> str:
    """A name with values in place of its placeholders."""
    return PLACEHOLDER.sub(lambda brace: words[brace[1]], template)


# --- Rules ------------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """What a row does in addition to renaming: several names on one side are one on the other."""

    theirs: tuple[str, ...]
    """Names in the file; one, where it is parted."""
    ours: tuple[str, ...]
    """Names in the model; one, where several are gathered."""
    dim: int
    """The axis along which tensors are concatenated or parted."""
    sizes: Sizes
    """The sizes of the parts along the axis."""
    number: str | None = None
    """The placeholder over which tensors are stacked, in a new first axis."""

    @property
    def gathers(self) -> bool:
        """Whether a tensor of the model is several in the file."""
        return len(self.theirs) > 1 or self.number is not None

    def configured(self, config: Any) -> "Rule":
        """The rule with the sizes that a configuration gives."""
        return self._replace(sizes=tuple(self.sizes(config))) if callable(self.sizes) else self

    def sizes_in(self, total: int, count: int) -> tuple[int, ...]:
        """The sizes of so many parts of ``total``.

        Raises:
            WeightsMismatchError: They do not add up to it.
        """
        if callable(self.sizes):
            raise WeightsMismatchError(f"{self}: the sizes of its parts are known with a configuration only.")
        sizes = self.sizes or (total // count,) * count
        if sum(sizes) != total or len(sizes) != count:
            wanted = f"parts of {' + '.join(map(str, sizes))} = {sum(sizes)}" if self.sizes else f"{count} equal parts"
            raise WeightsMismatchError(
                f"{self}: a tensor of {total} along axis {self.dim} is not {wanted}.",
                hint="The sizes follow from the configuration, or from the plugin's table of names: one is wrong.",
            )
        return sizes

    def __str__(self) -> str:
        left, right = (names[0] if len(names) == 1 else f"({', '.join(names)})" for names in (self.theirs, self.ours))
        return f"the row {left} -> {right}"


def part_of(rule: Rule, place: int, tensor: "Tensor") -> "Tensor":
    """A part of a tensor, as a view; what is not a tensor with values stays as it is, and is refused where it is used.

    Raises:
        WeightsMismatchError: The parts do not tile the tensor.
    """
    from registry.weights.names.lazy import is_plain  # most architectures have no such row

    if not is_plain(tensor):
        return tensor
    if tensor.dim() <= rule.dim:
        raise WeightsMismatchError(f"{rule}: a tensor of shape {tuple(tensor.shape)} has no such axis.")
    sizes = rule.sizes_in(tensor.shape[rule.dim], len(rule.ours))
    return tensor.narrow(rule.dim, sum(sizes[:place]), sizes[place])


def parted(theirs: str, ours: Iterable[str], *, dim: int = 0, sizes: Sizes = None) -> Rule:
    """A row for a tensor in the file of which the model has the parts as tensors of their own.

    Saving concatenates the parts again.  For a projection of queries, keys and values in one::

        parted("{p}.qkv_proj.weight", ("{p}.q_proj.weight", "{p}.k_proj.weight", "{p}.v_proj.weight"))

    Args:
        theirs: The name in the file.
        ours: The names of the parts in the model, in their order, with the placeholders of ``theirs``.
        dim: The axis along which they lie, from 0.
        sizes: Sizes along the axis, or a function of the configuration that returns them; equal ones when None.

    Raises:
        ValueError: There are not two parts or more, or a placeholder has no counterpart.
    """
    if isinstance(ours, str) or not isinstance(theirs, str):
        raise ValueError(f"parted takes one name in the file and several in the model, not {theirs!r} and {ours!r}.")
    rule = Rule((theirs,), tuple(ours), dim, _checked(sizes))
    if len(rule.ours) < 2:
        raise ValueError(f"{rule}: a tensor has two parts or more; for one, write the two names.")
    _check(rule, len(rule.ours))
    for name in rule.ours:
        if set(words_of(name)) != set(words_of(theirs)):
            raise ValueError(f"{rule}: {name!r} must have the placeholders of {theirs!r}, or saving finds no name.")
    return rule


def gathered(theirs: str | Iterable[str], ours: str, *, dim: int = 0, sizes: Sizes = None) -> Rule:
    """A row for tensors in the file that are one tensor in the model.

    Several names are concatenated.  A number that ``ours`` lacks is stacked over, in a new first axis.  Saving parts
    the tensor again.  For experts, and for experts whose gate and projection are one::

        gathered("{p}.experts.{i}.w2.weight", "{p}.experts.down_proj")
        gathered(("{p}.experts.{i}.w1.weight", "{p}.experts.{i}.w3.weight"), "{p}.experts.gate_up_proj")

    Args:
        theirs: The name in the file, or the names, in their order.
        ours: The name in the model.
        dim: The axis along which several names are concatenated, from 0, before they are stacked.
        sizes: Sizes along the axis, or a function of the configuration that returns them; equal ones when None.

    Raises:
        ValueError: Nothing is gathered, or a placeholder has no counterpart.
    """
    if not isinstance(ours, str):
        raise ValueError(f"gathered takes one name in the model, not {ours!r}.")
    names = (theirs,) if isinstance(theirs, str) else tuple(theirs)
    over = {word for name in names for word in words_of(name)} - set(words_of(ours))
    rule = Rule(names, (ours,), dim, _checked(sizes), next(iter(over), None))
    if len(names) < 2 and not over:
        raise ValueError(f"{rule}: there is nothing to gather: write the two names.")
    _check(rule, len(names))
    if (
        len(over) > 1
        or not over <= {*NUMBERS}
        or any(set(words_of(name)) ^ set(words_of(ours)) ^ over for name in names)
    ):
        raise ValueError(
            f"{rule}: each name in the file must have the placeholders of the name in the model, and all may have one "
            f"number more ({', '.join(f'{{{word}}}' for word in NUMBERS)}), over which tensors are stacked."
        )
    return rule


def renamed(theirs: str, ours: str) -> Rule:
    """A row for a tensor that files have under another name than the model, and that is saved under theirs.

    A pair of names is an older spelling, which is read and not written.

    Args:
        theirs: The name in the file.
        ours: The name in the model, with the same placeholders.

    Raises:
        ValueError: The names have other placeholders.
    """
    rule = Rule((theirs,), (ours,), 0, None)
    if set(words_of(theirs)) != set(words_of(ours)):
        raise ValueError(f"{rule}: both names must have the same placeholders, or saving finds no name.")
    return rule


def _check(rule: Rule, count: int) -> None:
    if type(rule.dim) is not int or rule.dim < 0:
        raise ValueError(f"{rule}: dim must be a number from 0, not {rule.dim!r}.")
    if isinstance(rule.sizes, tuple) and len(rule.sizes) != count:
        raise ValueError(f"{rule}: {len(rule.sizes)} sizes are given for {count} parts.")


def _checked(sizes: Any) -> Sizes:
    return sizes if sizes is None or callable(sizes) else tuple(sizes)
