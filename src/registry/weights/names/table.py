"""Tables from the names of weights in a file to ours."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from registry.errors import WeightsMismatchError
from registry.weights.names.rules import NUMBERS, PLACEHOLDER, Rule, filled, part_of, words_of
from registry.weights.names.stored import Operation, StoredTensor, same_name

if TYPE_CHECKING:
    from torch import Tensor

    from registry.weights.names.gathering import Found, PublishedTensor

_NO_NAME = r"(?!)"


def transposed(tensor: "Tensor") -> "Tensor":
    """The transpose of a matrix: TensorFlow keeps a kernel as ``(in, out)``, torch as ``(out, in)``.

    Raises:
        WeightsMismatchError: The tensor is not a matrix.
    """
    if tensor.dim() != 2:
        raise WeightsMismatchError(f"Only a matrix can be transposed, not a tensor of shape {tuple(tensor.shape)}.")
    return tensor.t()


def squeezed(tensor: "Tensor") -> "Tensor":
    """A kernel without its first axis: OpenAI keeps one as ``(1, in, out)``, a convolution of width 1.

    Raises:
        WeightsMismatchError: The tensor has another shape.
    """
    if tensor.dim() == 2:
        return tensor
    if tensor.dim() != 3 or len(tensor) != 1:
        raise WeightsMismatchError(f"Only a kernel of one token can be squeezed, not one of {tuple(tensor.shape)}.")
    return tensor[0]


# --- Tables -----------------------------------------------------------------------------------------------------------


@frozen(eq=False, repr=False)
class Translation:
    """The names in a file, as a table translates them."""

    sources: Mapping[str, StoredTensor]
    """Our name -> the tensor in the file."""
    dropped: tuple[str, ...]
    """Names in the file that are dropped."""
    wrappers: tuple[str, ...] = ()
    """Wrappers that were removed from the names."""


@frozen(repr=False)
class Row:
    """One line of a table: their name, and ours with the operation on each; none where the tensor is dropped."""

    theirs: str
    ours: tuple[str, ...]
    operations: tuple[Operation | None, ...]
    rule: Rule | None = None
    """The rule, where several names on one side are one on the other."""

    def __attrs_post_init__(self) -> None:
        for name in self.ours:
            for word in words_of(name):
                if word not in self.words:
                    raise ValueError(f"The name {name!r} uses {{{word}}}, which {self.theirs!r} does not have.")

    @classmethod
    def of(cls, line: "tuple[str, str] | tuple[str, str, Operation] | Rule") -> "Iterator[Row]":
        """The rows of one line: one for each name in the file."""
        if not isinstance(line, Rule):
            theirs, ours, operation = (*line, None)[:3]
            yield cls(theirs, (ours,), (operation,))
        elif len(line.ours) > 1:
            parts: list[Operation] = [partial(part_of, line, place) for place in range(len(line.ours))]
            yield cls(line.theirs[0], line.ours, tuple(parts), line)
        else:
            yield from (cls(theirs, line.ours, (None,), line) for theirs in line.theirs)

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders of the left side."""
        return words_of(self.theirs)

    @property
    def gathers(self) -> bool:
        """Whether the tensor is one of several that are gathered."""
        return self.rule is not None and self.rule.gathers

    def pattern(self, number: int) -> str:
        """The left side as a regular expression; its groups begin with ``row<number>``."""
        text = re.sub(r"\\\{([a-z]+)\\\}", rf"(?P=row{number}_\1)", re.escape(self.theirs))
        for word in self.words:  # where a word first stands it matches anything, elsewhere the same thing again
            anything = "0|[1-9][0-9]*" if word in NUMBERS else ".+"
            text = text.replace(f"(?P=row{number}_{word})", f"(?P<row{number}_{word}>{anything})", 1)
        return f"(?P<row{number}>{text})"

    def values(self, match: re.Match[str]) -> dict[str, str]:
        """The values of the placeholders, for what ``pattern`` matched."""
        return {word: match[f"{match.lastgroup}_{word}"] for word in self.words}


def _example(name: str) -> str:
    """A name that a template matches."""
    return PLACEHOLDER.sub(lambda brace: "0" if brace[1] in NUMBERS else "x", name)


@frozen(init=False, repr=False)
class NameTable:
    """Names in a file on the left, ours on the right.

    A placeholder ``{i}``, ``{j}`` or ``{k}`` stands for a number, any other word in braces for a name of one part or
    several (``encoder.layer.0``).  A row matches a name as a whole.  The order of rows has no effect: a name that two
    rows match is an error.  ``dropped`` lists names to drop.  A name that no row matches stays as it is::

        NameTable(
            ("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"),
            ("layer_{i}/kernel", "layer.{i}.weight", transposed),
            parted("{p}.qkv.weight", ("{p}.q.weight", "{p}.k.weight", "{p}.v.weight")),
            gathered("{p}.experts.{i}.weight", "{p}.experts"),
            dropped=("{p}.position_ids",),
        )

    A row of two names is an older spelling: saving writes ours.  Rows of ``parted``, ``gathered`` and ``renamed`` have
    exact inverses: saving writes theirs.

    Raises:
        ValueError: Two rows match one name, a right side uses a word that its left side lacks, or what a row of
            ``gathered``, ``parted`` or ``renamed`` makes is matched again.
    """

    rows: tuple[Row, ...]
    rules: tuple[Rule, ...]
    """The rules of the rows that gather or part."""
    _downwards: re.Pattern[str] = field(eq=False, repr=False)
    _upwards: re.Pattern[str] = field(eq=False, repr=False)

    def __init__(
        self, *rows: "tuple[str, str] | tuple[str, str, Operation] | Rule", dropped: Iterable[str] = ()
    ) -> None:
        text = next((row for row in rows if isinstance(row, str)), None)
        if text is not None:
            raise ValueError(f"NameTable: a row is a pair of names, not {text!r}; a comma may be missing.")
        refuse_text("NameTable(dropped=...)", dropped)
        self._set((*(row for line in rows for row in Row.of(line)), *(Row(theirs, (), ()) for theirs in dropped)))
        for row in self.rows:
            self._match(_example(row.theirs), ValueError)
        for row in self.rows:
            if row.rule is not None and any(self._match(_example(name), ValueError) for name in row.ours):
                raise ValueError(f"What {row.rule} makes is matched by a row of the table again.")

    def _set(self, rows: tuple[Row, ...]) -> None:
        patterns = [row.pattern(number) for number, row in enumerate(rows)] or [_NO_NAME]
        downwards, upwards = re.compile("|".join(patterns)), re.compile("|".join(reversed(patterns)))
        rules = tuple(dict.fromkeys(row.rule for row in rows if row.rule is not None))
        self.__attrs_init__(rows, rules, downwards, upwards)

    def configured(self, config: Any) -> "NameTable":
        """The table with the sizes that a configuration gives; the same where none depend on it."""
        if not any(callable(rule.sizes) for rule in self.rules):
            return self
        lines = {rule: list(Row.of(rule.configured(config))) for rule in self.rules}
        rows = [row if row.rule is None else lines[row.rule].pop(0) for row in self.rows]
        table = NameTable.__new__(NameTable)
        table._set(tuple(rows))
        return table

    # --- From the names in a file

    def translate(self, sources: Mapping[str, StoredTensor]) -> Translation:
        """Give every tensor the name that the table has for it.

        Raises:
            WeightsMismatchError: A name matches two rows, or two tensors would have one name.
        """
        translated: dict[str, StoredTensor] = {}
        dropped: list[str] = []
        gathering: dict[str, Found] = {}
        for name, source in sources.items():
            match = self._match(name, WeightsMismatchError)
            if match is None:
                _put(translated, name, source)
                continue
            row = self._row(match)
            words = row.values(match)
            if not row.ours:
                dropped.extend(source.names)
            for template, operation in zip(row.ours, row.operations, strict=True):
                ours = filled(template, words)
                stored = source.then(operation, renamed=ours != name)
                if not row.gathers:
                    _put(translated, ours, stored)
                    continue
                if ours not in gathering:
                    _put(translated, ours, stored)  # holds the position
                    gathering[ours] = _found(row, words)
                gathering[ours].add(row.theirs, words, stored)
        return Translation(
            {**translated, **{ours: found.stored() for ours, found in gathering.items()}}, tuple(dropped)
        )

    def _match(self, name: str, error: type[ValueError]) -> re.Match[str] | None:
        """Match the only row that fits: searched from the top and from the bottom, it is the same row."""
        match = self._downwards.fullmatch(name)
        if match is None:
            return None
        other = self._upwards.fullmatch(name)
        assert other is not None
        if match.lastgroup != other.lastgroup:
            rows = f"{self._row(match).theirs!r} and {self._row(other).theirs!r}"
            raise error(f"The name {name!r} matches two rows of one table, {rows}.")
        return match

    def _row(self, match: re.Match[str]) -> Row:
        assert match.lastgroup is not None
        return self.rows[int(match.lastgroup.removeprefix("row"))]

    # --- To the names in a file

    def published(self, tensors: "Mapping[str, Tensor]") -> "dict[str, PublishedTensor]":
        """The tensors of a model as files have them: what rows gathered is parted again, and what they parted joined.

        Raises:
            WeightsMismatchError: The model has only some of the tensors that a row makes, or of other sizes.
        """
        from registry.weights.names.gathering import PublishedTensor, inverse  # loading needs neither

        found: dict[str, PublishedTensor] = {}
        for rule, words, names in self._of_rules(tensors):
            if rule is None:
                found[names[0]] = PublishedTensor(tensors[names[0]], names)
                continue
            missing = [name for name in names if name not in tensors]
            if missing:
                raise WeightsMismatchError(f"{rule} makes {', '.join(names)}, of which the model lacks {missing[0]}.")
            found |= inverse(rule, words, [(name, tensors[name]) for name in names])
        return found

    def uses(self, rule: Rule, names: Iterable[str]) -> bool:
        """Whether one of the names is what a rule makes."""
        return any(found is rule for found, _, _ in self._of_rules(names))

    def _of_rules(self, names: Iterable[str]) -> "Iterator[tuple[Rule | None, dict[str, str], tuple[str, ...]]]":
        """Each rule that made some of the names, with the values of its placeholders and all names that it makes."""
        lines = [(rule, Row(ours, (), ())) for rule in self.rules for ours in rule.ours]
        patterns = [(rule, row, re.compile(row.pattern(0))) for rule, row in lines]
        done = set()
        for name in names:
            matches = ((rule, row, pattern.fullmatch(name)) for rule, row, pattern in patterns)
            rule, words = next(((rule, row.values(match)) for rule, row, match in matches if match), (None, {}))
            made = (name,) if rule is None else tuple(filled(ours, words) for ours in rule.ours)
            if made not in done:
                done.add(made)
                yield rule, words, made


def _found(row: Row, words: Mapping[str, str]) -> "Found":
    from registry.weights.names.gathering import Found  # most tables gather nothing

    assert row.rule is not None
    return Found(row.rule, words)


def _put(translated: dict[str, StoredTensor], ours: str, source: StoredTensor) -> None:
    if ours in translated:
        raise same_name(translated[ours], source, ours)
    translated[ours] = source


def refuse_text(what: str, names: object) -> None:
    """Raise ValueError for a text in the place of a tuple of names, of which every letter would be one."""
    if isinstance(names, str):
        raise ValueError(f"{what} is the text {names!r}, not a tuple of names: write ({names!r},), with the comma.")
