"""Names of weights: tables from the names in a file to ours, and the layout of an architecture's names."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from attrs import Attribute, evolve, field, frozen

from registry.errors import WeightsMismatchError

if TYPE_CHECKING:
    from torch import Tensor

Operation: TypeAlias = Callable[["Tensor"], "Tensor"]
"""What a row does to a tensor in addition to renaming it; it returns a view where it can."""

NUMBERS = ("i", "j", "k")
"""Placeholders that stand for a number; every other word stands for a name of one part or several."""

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
_NO_NAME = r"(?!)"


def transposed(tensor: "Tensor") -> "Tensor":
    """The transpose of a matrix: TensorFlow keeps a kernel as ``(in, out)``, torch as ``(out, in)``.

    Raises:
        WeightsMismatchError: The tensor is no matrix.
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


@frozen
class StoredTensor:
    """The origin of a tensor of ours: its name in the file, and the operations on it, in order."""

    name: str
    operations: tuple[Operation, ...] = ()
    renamed: bool = False
    """Whether a table gives it another name."""

    def read(self, tensors: "Mapping[str, Tensor]") -> "Tensor":
        """Read the tensor, and apply the operations."""
        tensor = tensors[self.name]
        for operation in self.operations:
            tensor = operation(tensor)
        return tensor


@frozen
class Translation:
    """The names in a file, as a table translates them."""

    sources: Mapping[str, StoredTensor]
    """Our name -> the tensor in the file."""
    dropped: tuple[str, ...]
    """Names in the file that are dropped."""
    wrappers: tuple[str, ...] = ()
    """Wrappers that were removed from the names."""


@frozen
class Row:
    """One line of a table: their name, ours (None where the tensor is dropped), and the operation on the tensor."""

    theirs: str
    ours: str | None
    operation: Operation | None = None

    def __attrs_post_init__(self) -> None:
        for word in _PLACEHOLDER.findall(self.ours or ""):
            if word not in self.words:
                raise ValueError(f"The name {self.ours!r} uses {{{word}}}, which {self.theirs!r} does not have.")

    @property
    def words(self) -> tuple[str, ...]:
        """The placeholders of the left side."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.theirs)))

    def example(self) -> str:
        """A name that this row matches."""
        return _PLACEHOLDER.sub(lambda brace: "0" if brace[1] in NUMBERS else "x", self.theirs)

    def pattern(self, number: int) -> str:
        """The left side as a regular expression; its groups begin with ``row<number>``."""
        text = re.sub(r"\\\{([a-z]+)\\\}", rf"(?P=row{number}_\1)", re.escape(self.theirs))
        for word in self.words:  # where a word first stands it matches anything, elsewhere the same thing again
            anything = "0|[1-9][0-9]*" if word in NUMBERS else ".+"
            text = text.replace(f"(?P=row{number}_{word})", f"(?P<row{number}_{word}>{anything})", 1)
        return f"(?P<row{number}>{text})"

    def rename(self, match: re.Match[str]) -> str | None:
        """Our name for what ``pattern`` matched."""
        return self.ours and _PLACEHOLDER.sub(lambda brace: match[f"{match.lastgroup}_{brace[1]}"], self.ours)


@frozen(init=False)
class NameTable:
    """Names in a file on the left, ours on the right.

    A placeholder ``{i}``, ``{j}`` or ``{k}`` stands for a number, any other word in braces for a name of one part or
    several (``encoder.layer.0``).  A row matches a name as a whole.  The order of rows has no effect: a name that two
    rows match is an error.  ``dropped`` lists names to drop.  A name that no row matches stays as it is::

        NameTable(
            ("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"),
            ("layer_{i}/kernel", "layer.{i}.weight", transposed),
            dropped=("{p}.position_ids",),
        )

    Raises:
        ValueError: Two rows match one name, or a right side uses a word that its left side lacks.
    """

    rows: tuple[Row, ...]
    _downwards: re.Pattern[str] = field(eq=False, repr=False)
    _upwards: re.Pattern[str] = field(eq=False, repr=False)

    def __init__(self, *rows: tuple[str, str] | tuple[str, str, Operation], dropped: Iterable[str] = ()) -> None:
        text = next((row for row in rows if isinstance(row, str)), None)
        if text is not None:
            raise ValueError(f"NameTable: a row is a pair of names, not {text!r}; a comma may be missing.")
        _refuse_text("NameTable(dropped=...)", dropped)
        lines = (*(Row(*row) for row in rows), *(Row(theirs, None) for theirs in dropped))
        patterns = [row.pattern(number) for number, row in enumerate(lines)] or [_NO_NAME]
        downwards, upwards = re.compile("|".join(patterns)), re.compile("|".join(reversed(patterns)))
        self.__attrs_init__(lines, downwards, upwards)
        for row in lines:
            self._match(row.example(), ValueError)

    def translate(self, sources: Mapping[str, StoredTensor]) -> Translation:
        """Give every tensor the name that the table has for it.

        Raises:
            WeightsMismatchError: A name matches two rows, or two tensors would have one name.
        """
        translated: dict[str, StoredTensor] = {}
        dropped: list[str] = []
        for name, source in sources.items():
            ours, source = self._translate_one(name, source)
            if ours is None:
                dropped.append(source.name)
            elif ours in translated:
                raise same_name(translated[ours], source, ours)
            else:
                translated[ours] = source
        return Translation(translated, tuple(dropped))

    def _translate_one(self, name: str, source: StoredTensor) -> tuple[str | None, StoredTensor]:
        match = self._match(name, WeightsMismatchError)
        if match is None:
            return name, source
        row = self._row(match)
        ours = row.rename(match)
        operations = source.operations if row.operation is None else (*source.operations, row.operation)
        return ours, StoredTensor(source.name, operations, renamed=source.renamed or ours != name)

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


def same_name(one: StoredTensor, other: StoredTensor, ours: str) -> WeightsMismatchError:
    """The error for two tensors that would have one name."""
    return WeightsMismatchError(
        f"{one.name!r} and {other.name!r} are both names of {ours!r}.",
        hint="Remove one of the two from the file: nothing says which is meant.",
    )


# --- Layouts ----------------------------------------------------------------------------------------------------------


WRAPPERS = (
    "module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.", "_module.",
)  # fmt: skip
"""Parts of names that are added when a module is wrapped: by DataParallel, ``torch.compile``, FSDP and checkpointing of
torch, by Lightning and by opacus."""


def _refuse_text(what: str, names: object) -> None:
    """Raise ValueError for a text in the place of a tuple of names, of which every letter would be one."""
    if isinstance(names, str):
        raise ValueError(f"{what} is the text {names!r}, not a tuple of names: write ({names!r},), with the comma.")


def _ends_with_a_dot(_layout: object, attribute: "Attribute[str]", prefix: str) -> None:
    if prefix and not prefix.endswith("."):
        raise ValueError(f"Layout.{attribute.name} must end with a dot, unlike {prefix!r}.")


def _are_names(_layout: object, attribute: "Attribute[tuple[str, ...]]", names: tuple[str, ...]) -> None:
    _refuse_text(f"Layout.{attribute.name}", names)
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"Layout.{attribute.name} must be names, none of them empty, not {names!r}.")


def _are_parts(layout: "Layout", attribute: "Attribute[tuple[str, ...]]", parts: tuple[str, ...]) -> None:
    _are_names(layout, attribute, parts)
    for part in parts:
        if layout.prefix.startswith(part):
            raise ValueError(f"Layout.parts: {part!r} is the backbone, {layout.prefix!r}, which no file may lack.")


def _are_wrappers(layout: "Layout", attribute: "Attribute[tuple[str, ...]]", wrappers: tuple[str, ...]) -> None:
    _are_names(layout, attribute, wrappers)
    for wrapper in wrappers:
        _ends_with_a_dot(layout, attribute, wrapper)  # type: ignore[arg-type]


def _groups_are_apart(_layout: object, _attribute: object, groups: tuple[tuple[str, ...], ...]) -> None:
    _refuse_text("Layout.ties", groups)
    for group in groups:
        if isinstance(group, str):
            raise ValueError(f"Layout.ties: {group!r} is a name, where a group of them is needed: (({group!r}, ...),).")
    names = [name for group in groups for name in group]
    if len(set(names)) < len(names) or any(len(group) < 2 for group in groups):
        raise ValueError(f"Layout.ties must be groups of two names or more, each name in one group, not {groups!r}.")


@frozen(kw_only=True)
class Layout:
    """The names of an architecture's weights.

    All names are full names, those of the model with all its heads: they begin with ``prefix``, unless a head owns
    them.
    """

    prefix: str = field(default="", validator=_ends_with_a_dot)
    """What precedes the names of the backbone in a model with a head: ``bert.``."""
    parts: tuple[str, ...] = field(default=(), validator=_are_parts)
    """Prefixes of the parts that a file may lack, each as a whole: ``bert.pooler.``, ``classifier.``."""
    ties: tuple[tuple[str, ...], ...] = field(default=(), validator=_groups_are_apart)
    """Tie groups: names that share one tensor."""
    vocabulary: tuple[str, ...] = field(default=(), validator=_are_names)
    """Names of the tensors that have a row for each token: the embedding's first, then those of the heads."""
    names: NameTable = NameTable()
    """Older spellings, and the buffers of other libraries that are dropped."""
    wrappers: tuple[str, ...] = field(default=WRAPPERS, validator=_are_wrappers)
    """Parts of names that libraries add when they wrap a module; they are removed wherever they are."""

    def part_of(self, name: str) -> str | None:
        """The part to which a name belongs, the longest where one lies in another; None for the backbone."""
        return max((part for part in self.parts if name.startswith(part)), key=len, default=None)

    def in_full(self, names: Collection[str]) -> dict[str, str]:
        """Map the names of a model, with or without its heads, to full names."""
        if any(name.startswith(self.prefix) for name in names):
            return {name: name for name in names}
        heads = tuple(part for part in self.parts if not part.startswith(self.prefix))
        return {name: name if name.startswith(heads) else self.prefix + name for name in names}

    def unwrapped(self, names: Collection[str]) -> dict[str, str]:
        """Map names to the same names without wrappers, wherever they are."""
        if not self.wrappers:
            return {name: name for name in names}
        wrappers = re.compile(rf"(?<![^.])(?:{'|'.join(map(re.escape, self.wrappers))})")
        return {name: wrappers.sub("", name) for name in names}

    def without_wrappers_in(self, names: Iterable[str]) -> "Layout":
        """The same layout for a model with these names: where one has the name of a wrapper, it is none."""
        dotted = [f".{name}" for name in names]
        own = {wrapper for wrapper in self.wrappers if any(f".{wrapper}" in name for name in dotted)}
        return evolve(self, wrappers=tuple(w for w in self.wrappers if w not in own)) if own else self

    def as_in(self, model: Collection[str], prefix: str) -> str:
        """A prefix of full names, as a model with these names spells it: ``pooler.`` for ``bert.pooler.``."""
        bare = not any(name.startswith(self.prefix) for name in model)
        return prefix.removeprefix(self.prefix) if bare else prefix
