"""Which tensor of a file belongs where in a model: a matter of names alone, for which no tensor is read.

Names on both sides are spelled in full, and tied names are brought together.  A tensor that only one side has is then
explained by the parts of the layout, allowed by the caller, or an error.
"""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

from attrs import Factory, frozen

from registry.weights.names import Layout, NameTable, StoredTensor, Translation, same_name

Patterns: TypeAlias = str | Iterable[str]
"""Names with the wildcards of a shell: ``classifier.*``."""

Outcome: TypeAlias = Literal[
    "loaded", "new", "missing", "allowed_missing", "dropped", "unexpected", "allowed_unexpected"
]
"""What becomes of a tensor; ``missing`` and ``unexpected`` are errors, and mean what they do in ``load_state_dict``.

================== ===========================================================
loaded             both sides have it
new                only the model has it, and the file has nothing of its part
missing            only the model has it, and the file should
allowed_missing    only the model has it, which the caller allows
dropped            only the file has it, and the model has nothing of its part
unexpected         only the file has it, and the model should
allowed_unexpected only the file has it, which the caller allows
================== ===========================================================
"""


@frozen(eq=False, repr=False)
class Pair:
    """One tensor on both sides; a side may be empty, and has several names where they are tied."""

    part: str | None
    """The part of the model to which the tensor belongs; None for the backbone."""
    ours: dict[str, str] = Factory(dict)
    """Full name -> name in the model."""
    theirs: dict[str, StoredTensor] = Factory(dict)
    """Full name -> the tensor in the file."""
    parts_of_ours: set[str | None] = Factory(set)
    """The parts of all names in the model: of tied ones, that of the head, too."""
    parts_of_theirs: set[str | None] = Factory(set)
    """The parts of all names in the file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tensor's names in the model; where it has none, those in the file."""
        return tuple(self.ours.values()) or self.stored

    @property
    def stored(self) -> tuple[str, ...]:
        """All names in the file, each once: a tensor may be gathered from several."""
        return tuple(dict.fromkeys(name for source in self.theirs.values() for name in source.names))

    @property
    def missing(self) -> tuple[str, ...]:
        """Names that are not in the file, where it has some of those from which the tensor is gathered."""
        return tuple(name for source in self.theirs.values() for name in source.missing)


Outcomes: TypeAlias = Mapping[Outcome, list[Pair]]
"""The tensors of both sides, by what becomes of them."""


COUNTERS = ("n_averaged",)
"""Tensors that torch adds next to a wrapped module: how many models an ``AveragedModel`` is the mean of."""


def translate_names(names: Iterable[str], table: NameTable | None, layout: Layout) -> Translation:
    """Spell the names in a file as the model with all its heads does.

    First by the ``table`` of the file's format, then without wrappers, with the prefix, and by the layout's own table.

    Raises:
        WeightsMismatchError: Two names become one.
    """
    names = list(names)
    counted = [name for name in COUNTERS if name in names and any(other.startswith("module.") for other in names)]
    found = (table or NameTable()).translate({name: StoredTensor(name) for name in names if name not in counted})
    inner = layout.unwrapped(found.sources)
    full = layout.in_full(inner.values())
    sources: dict[str, StoredTensor] = {}
    for name, source in found.sources.items():
        if full[inner[name]] in sources:
            raise same_name(sources[full[inner[name]]], source, full[inner[name]])
        sources[full[inner[name]]] = source
    ours = layout.names.translate(sources)
    removed = [wrapper for wrapper in layout.wrappers if any(f".{wrapper}" in f".{name}" for name in inner)]
    return Translation(ours.sources, (*counted, *found.dropped, *ours.dropped), tuple(removed))


def match(
    names: Collection[str], shared: Iterable[Collection[str]], sources: Mapping[str, StoredTensor], layout: Layout
) -> list[Pair]:
    """Pair the names in a model with those in a file, in the model's order.

    Args:
        names: Names in the model.
        shared: Groups of names under which the model has one and the same parameter.
        sources: The tensors of the file, by their full names.
        layout: How the architecture's weights are named.
    """
    full = layout.in_full(names)
    leader = _leaders([*layout.ties, *([full[name] for name in group] for group in shared)], layout)
    pairs: dict[str, Pair] = {}
    for name in [*full.values(), *sources]:
        lead = leader.get(name, name)
        pairs.setdefault(lead, Pair(layout.part_of(lead)))
    for name in names:
        pair = pairs[leader.get(full[name], full[name])]
        pair.ours[full[name]] = name
        pair.parts_of_ours.add(layout.part_of(full[name]))
    for name, source in sources.items():
        pair = pairs[leader.get(name, name)]
        pair.theirs[name] = source
        pair.parts_of_theirs.add(layout.part_of(name))
    return list(pairs.values())


def _leaders(groups: Iterable[Iterable[str]], layout: Layout) -> dict[str, str]:
    """Map tied names to the one that stands for them; groups may overlap.

    It is the first of the backbone where there is one: a tensor that the backbone needs is never a new part of a head.
    """
    members: dict[str, tuple[str, ...]] = {}
    for group in groups:
        joined = tuple(dict.fromkeys(name for member in group for name in members.get(member, (member,))))
        members.update(dict.fromkeys(joined, joined))
    return {name: min(group, key=lambda member: layout.part_of(member) is not None) for name, group in members.items()}


def classify(
    pairs: Collection[Pair], allow_missing: Patterns = (), allow_unexpected: Patterns = ()
) -> dict[Outcome, list[Pair]]:
    """Decide what becomes of each tensor.

    Args:
        pairs: The tensors of both sides.
        allow_missing: Patterns of names in the model which the file may lack.
        allow_unexpected: Patterns of names in the file which the model may lack.
    """
    parts_of_model = {None}.union(*(pair.parts_of_ours for pair in pairs))  # the backbone is never absent
    parts_of_file = {None}.union(*(pair.parts_of_theirs for pair in pairs))
    outcomes: dict[Outcome, list[Pair]] = {outcome: [] for outcome in get_args(Outcome)}
    for pair in pairs:
        outcome: Outcome = "loaded"
        if not pair.theirs or (pair.ours and pair.missing):
            wrong: Outcome = "allowed_missing" if is_allowed(pair.names, allow_missing) else "missing"
            outcome = wrong if pair.part in parts_of_file else "new"
        elif not pair.ours:
            allowed = is_allowed(pair.names, allow_unexpected)
            outcome = (
                "dropped" if pair.part not in parts_of_model else "allowed_unexpected" if allowed else "unexpected"
            )
        outcomes[outcome].append(pair)
    return outcomes


def require_backbone(outcomes: dict[Outcome, list[Pair]]) -> None:
    """Take back the permission to miss tensors of the backbone where the file has none of them that fits.

    Single tensors of a backbone may be missing, where the caller allows it, but never all.
    """
    if any(pair.part is None and pair.ours for pair in outcomes["loaded"]):
        return
    for pair in [pair for pair in outcomes["allowed_missing"] if pair.part is None]:
        outcomes["allowed_missing"].remove(pair)
        outcomes["missing"].append(pair)


def is_allowed(names: Iterable[str], patterns: Patterns) -> bool:
    """Whether one of ``patterns`` matches one of ``names``; a single string is one pattern."""
    globs = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
