"""Which tensor of a file belongs where in a model: a matter of names alone, for which no tensor is read.

Names on both sides are spelled in full, and tied names are brought together.  What one side has and the other lacks is
then explained by the parts of the layout, allowed by the caller, or an error.
"""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

from attrs import Factory, frozen

from registry.weights.names import Layout, NameTable, StoredTensor, Translation

Patterns: TypeAlias = str | Iterable[str]
"""Names with the wildcards of a shell: ``classifier.*``."""

Fate: TypeAlias = Literal["loaded", "new", "missing", "lacking", "dropped", "unexpected", "surplus"]
"""What becomes of a tensor.

========== ======================================================
loaded     both sides have it
new        the model has it, and the file has nothing of its part
missing    the model has it, and the caller lets the file lack it
lacking    the model has it, and the file should
dropped    the file has it, and the model has nothing of its part
unexpected the file has it, and the caller lets the model lack it
surplus    the file has it, and the model should
========== ======================================================
"""


@frozen
class Pair:
    """One tensor on both sides; a side may be empty, and has several names where they are tied."""

    part: str | None
    """The part of the model to which the tensor belongs; None for the trunk."""
    ours: dict[str, str] = Factory(dict)
    """Name in full -> name in the model."""
    theirs: dict[str, StoredTensor] = Factory(dict)
    """Name in full -> where the file has it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tensor's names as the model has them; where it has none, as the file has them."""
        return tuple(self.ours.values()) or tuple(source.name for source in self.theirs.values())


def offer(names: Iterable[str], table: NameTable | None, layout: Layout) -> Translation:
    """Spell the names in a file as the model with all its heads does.

    First by the ``table`` that belongs to the file's format, then without wrappers, with the prefix, and by the
    layout's own table.  Raises WeightsMismatchError when two names become one.
    """
    found = (table or NameTable()).translate({name: StoredTensor(name) for name in names})
    inner = layout.unwrapped(found.sources)
    full = layout.in_full(inner.values())
    ours = layout.names.translate({full[inner[name]]: source for name, source in found.sources.items()})
    return Translation(ours.sources, found.dropped + ours.dropped)


def pair_up(
    names: Collection[str], shared: Iterable[Collection[str]], offered: Mapping[str, StoredTensor], layout: Layout
) -> list[Pair]:
    """Bring the names in a model together with those that a file offers, in the model's order.

    ``shared`` are groups of names under which the model has one and the same parameter.
    """
    full = layout.in_full(names)
    leader = _leaders([*layout.ties, *([full[name] for name in group] for group in shared)], layout)
    pairs: dict[str, Pair] = {}
    for name in [*full.values(), *offered]:
        lead = leader.get(name, name)
        pairs.setdefault(lead, Pair(layout.part_of(lead)))
    for name in names:
        pairs[leader.get(full[name], full[name])].ours[full[name]] = name
    for name, source in offered.items():
        pairs[leader.get(name, name)].theirs[name] = source
    return list(pairs.values())


def _leaders(groups: Iterable[Iterable[str]], layout: Layout) -> dict[str, str]:
    """Map tied names to the one that stands for them, the first in the trunk where there is one; groups may overlap."""
    members: dict[str, tuple[str, ...]] = {}
    for group in groups:
        joined = tuple(dict.fromkeys(name for member in group for name in members.get(member, (member,))))
        members.update(dict.fromkeys(joined, joined))
    return {name: min(group, key=lambda member: layout.part_of(member) is not None) for name, group in members.items()}


def sort(pairs: Collection[Pair], allow_missing: Patterns, allow_unexpected: Patterns) -> dict[Fate, list[Pair]]:
    """Decide what becomes of each tensor."""
    parts_of_model = {pair.part for pair in pairs if pair.ours} | {None}  # the trunk is never absent
    parts_of_file = {pair.part for pair in pairs if pair.theirs} | {None}
    fates: dict[Fate, list[Pair]] = {fate: [] for fate in get_args(Fate)}
    for pair in pairs:
        fate: Fate = "loaded"
        if not pair.theirs:
            allowed = matches(pair.names, allow_missing)
            fate = "new" if pair.part not in parts_of_file else "missing" if allowed else "lacking"
        elif not pair.ours:
            allowed = matches(pair.names, allow_unexpected)
            fate = "dropped" if pair.part not in parts_of_model else "unexpected" if allowed else "surplus"
        fates[fate].append(pair)
    return fates


def matches(names: Iterable[str], patterns: Patterns) -> bool:
    """Whether one of ``patterns`` fits one of ``names``; a single string is one pattern."""
    globs = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
