"""Assemble texts into batches: special tokens, truncation, windows, padding, tensors.

Tokens are rows of numbers: lists where lists are asked for, and 64-bit integers (``array("q")``) where tensors are, so
that each step is a copy of memory.  Strategies and results are those of transformers' fast tokenizers.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from itertools import product, repeat
from operator import add
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

from registry.errors import UnknownOptionError, did_you_mean
from registry.tokenization.chunk_cache import PackedIds

T = TypeVar("T")
Row: TypeAlias = "list[int] | PackedIds"
RowOf: TypeAlias = Callable[[Iterable[int]], Any]
"""What makes a row: ``list`` or ``PACKED``."""
PACKED: RowOf = partial(array, "q")
Span: TypeAlias = tuple[int, int]


class Batch(dict[str, Any]):
    """What a tokenizer returns and a model takes: ``model(**batch)``.

    ``input_ids``, ``attention_mask`` and the like have shape ``(rows, tokens)``; ``offset_mapping``, when asked for,
    has for each token the start and the end of its characters in the text, ``(0, 0)`` for tokens that were added.
    Keys can be read as attributes.
    """

    text_index: tuple[int, ...] = ()
    """For each row the number of the text that it comes from; a text of several windows has several rows."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"This batch has no {name!r}; it has {', '.join(self)}.") from None

    def to(self, device: Any) -> Self:
        """Move all tensors to a device, in place; returns the batch."""
        self.update({key: value.to(device) for key, value in self.items()})
        return self


class Segment(NamedTuple):
    """Tokens that follow each other."""

    ids: Row
    offsets: list[int]
    """Start and end of each token, in turn; empty where nobody asked for them."""

    def part(self, span: Span) -> "Segment":
        """The tokens from ``start`` to before ``stop``."""
        start, stop = span
        if stop - start == len(self.ids):
            return self
        return Segment(self.ids[start:stop], self.offsets[2 * start : 2 * stop])

    def moved(self, start: int) -> "Segment":
        """The same tokens in a longer text, of which theirs begins at ``start``."""
        return Segment(self.ids, [start + place for place in self.offsets]) if start else self


class Frame(NamedTuple, Generic[T]):
    """What stands around one text (start, end) or two (start, between, end): names in a class, tokens in a batch."""

    start: T
    between: T
    end: T


def join(*segments: Segment) -> Segment:
    """A few segments with rows of one kind, one after the other, in rows of their own."""
    ids, offsets = zip(*segments, strict=True)
    return Segment(reduce(add, ids), reduce(add, offsets))


def added(ids: Sequence[int]) -> Segment:
    """A segment of tokens that stand nowhere in the text."""
    return Segment(list(ids), [0, 0] * len(ids))


# --- Words for strategies ---------------------------------------------------------------------------------------------

PADDING: Mapping[Any, str | None] = {
    False: None, None: None, "do_not_pad": None, True: "longest", "longest": "longest", "max_length": "max_length",
}  # fmt: skip
TRUNCATION: Mapping[Any, str | None] = {
    False: None, None: None, "do_not_truncate": None, True: "longest_first", "longest_first": "longest_first",
    "only_first": "only_first", "only_second": "only_second",
}  # fmt: skip


def choose(word: Any, choices: Mapping[Any, T], option: str) -> T:
    """Look up the word for a strategy.  Raises UnknownOptionError, with suggestions."""
    try:
        return choices[word]
    except (KeyError, TypeError):
        words = [choice for choice in choices if isinstance(choice, str)]
        raise UnknownOptionError(
            f"{option}={word!r} is not known.{did_you_mean(str(word), words)}",
            hint=f"{option} may be {', '.join(map(repr, choices))}.",
        ) from None


# --- Which texts ------------------------------------------------------------------------------------------------------


def texts_and_pairs(text: Any, text_pair: Any) -> tuple[list[str], list[str] | None, bool]:
    """First texts, second texts (None without pairs), and whether a batch was given rather than a single text.

    A batch is a list of texts, or of pairs of texts.  Raises TypeError for anything but strings.
    """
    if isinstance(text, str):
        firsts, seconds = [text], None if text_pair is None else [text_pair]
    elif text_pair is None:
        firsts, seconds = _unzipped(_listed(text))
    else:
        firsts, seconds = _listed(text), _listed(text_pair)
        if len(firsts) != len(seconds):
            raise ValueError(f"There are {len(firsts)} texts, but {len(seconds)} second texts.")
    for found in (*firsts, *(seconds or ())):
        if not isinstance(found, str):
            raise TypeError(f"A text must be a string, not {found!r:.80}.")
    return firsts, seconds, not isinstance(text, str)


def _listed(texts: Any) -> list[Any]:
    if not isinstance(texts, Iterable) or isinstance(texts, (str, bytes, Mapping)):
        raise TypeError(f"A string or a list of strings is needed, not {texts!r:.80}.")
    return list(texts)


def _unzipped(texts: list[Any]) -> tuple[list[Any], list[Any] | None]:
    """First and second texts of a list of pairs; the list itself when it holds texts."""
    if not texts or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in texts):
        return texts, None
    return [first for first, _ in texts], [second for _, second in texts]


# --- Which tokens of them ---------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """How much of a text a row may hold, and what is done with the rest."""

    size: int | None
    """Tokens of a row, special ones included; None for any number."""
    strategy: str | None
    """The text that is cut: a value of ``TRUNCATION``."""
    stride: int
    """Tokens that neighbouring windows share; 0 for a single window."""


def rows(
    firsts: Iterable[Segment],
    seconds: Iterable[Segment] | None,
    frame: Frame[Segment],
    limit: Limit,
    columns: Mapping[str, "Column"],
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Rows of a batch, each as what ``columns`` tell of it, and for each row the number of its text."""
    special = sum(len(segment.ids) for segment in frame) - (len(frame.between.ids) if seconds is None else 0)
    if limit.strategy and limit.size is not None and limit.size < special:
        raise ValueError(f"max_length={limit.size} leaves no room for the {special} special tokens.")
    found: list[dict[str, Any]] = []
    text_index: list[int] = []
    for number, (first, second) in enumerate(zip(firsts, repeat(None) if seconds is None else seconds, strict=False)):
        for this, that in windows(len(first.ids), 0 if second is None else len(second.ids), special, limit):
            row, ones = framed(frame, first.part(this), None if second is None else second.part(that))
            found.append({key: column(row, ones) for key, column in columns.items()})
            text_index.append(number)
    return found, tuple(text_index)


def windows(first: int, second: int, special: int, limit: Limit) -> list[tuple[Span, Span]]:
    """The parts of one or two texts, of ``first`` and ``second`` tokens, that fit beside ``special`` tokens.

    With a stride there are as many windows as it takes to show every token; without, there is one.  Where both texts
    are cut, every window of one meets every window of the other.
    """
    if limit.strategy is None or limit.size is None or first + second + special <= limit.size:
        return [((0, first), (0, second))]
    share, other_share = _shares(first, second, limit.size - special, limit.strategy)
    others = _spans(second, other_share, limit.stride)
    pairs = list(product(_spans(first, share, limit.stride), others))
    return pairs[:1] + pairs[len(others) :] + pairs[1 : len(others)]  # the order of the reference


def _shares(first: int, second: int, room: int, strategy: str) -> tuple[int, int]:
    """How many tokens each text may keep."""
    if strategy == "longest_first":
        less = min(first, second, room // 2)
        return (less, room - less) if first <= second else (room - less, less)
    kept = room - (second if strategy == "only_first" else first)
    if kept < 1:
        raise ValueError(
            f"truncation={strategy!r} cannot make {first} and {second} tokens fit into {room}: nothing would be left "
            f"of the text that may be cut."
        )
    return (kept, second) if strategy == "only_first" else (first, kept)


def _spans(size: int, share: int, stride: int) -> list[Span]:
    """Windows of ``share`` tokens over a text of ``size`` tokens."""
    if size <= share or not stride:
        return [(0, min(size, share))]
    if not 0 < stride < share:
        raise ValueError(f"stride={stride} must be from 0 to below {share}, the tokens of the text in one window.")
    return [(start, min(start + share, size)) for start in range(0, size - stride, share - stride)]


def framed(frame: Frame[Segment], first: Segment, second: Segment | None = None) -> tuple[Segment, int]:
    """The tokens of a row, and how many at its end belong to the second text."""
    if second is None:
        return (join(frame.start, first, frame.end) if frame.start.ids or frame.end.ids else first), 0
    row = join(frame.start, first, frame.between, second, frame.end)
    return row, len(second.ids) + len(frame.end.ids)


# --- Columns ----------------------------------------------------------------------------------------------------------

PER_TOKEN = {"offset_mapping": 2}
"""Numbers that a token has in a column, where it is not one."""

Column: TypeAlias = Callable[[Segment, int], Any]
"""What a batch tells of a row, of whose tokens the last ones belong to the second text."""


class Form(NamedTuple):
    """How a batch holds its columns."""

    row_of: RowOf
    """The rows that columns are best made of."""
    columns: Mapping[str, Column]
    """What is told of a row, made at once: what it is made of still lies in the processor's cache."""
    padding: Callable[[str, int], Any]
    """The part of a column for one token of padding, which is filled with a number."""
    whole: Callable[[str, list[Any]], Any]
    """A column, of the parts of all rows."""


def width(column: Sequence[Any], fill_to: str | None, limit: Limit) -> int:
    """Tokens that every row must have at least."""
    if fill_to is None:
        return 0
    if fill_to == "longest":
        return max(map(len, column), default=0)
    if limit.size is None:
        raise ValueError("padding='max_length' needs a max_length: how much the model takes is not known here.")
    return limit.size


def padded(column: list[Any], width: int, padding: Any) -> list[Any]:
    """Rows of at least ``width`` tokens, filled with ``padding`` for each that they lack."""
    sizes = [len(row) // len(padding) for row in column]
    return [row + padding * (width - size) if size < width else row for row, size in zip(column, sizes, strict=True)]


LISTS: Mapping[str, Column] = {
    "input_ids": lambda row, _: row.ids,
    "token_type_ids": lambda row, ones: [0] * (len(row.ids) - ones) + [1] * ones,
    "attention_mask": lambda row, _: [1] * len(row.ids),
    "offset_mapping": lambda row, _: list(zip(row.offsets[::2], row.offsets[1::2], strict=True)),
}
"""Columns as lists.  Second texts, with the special tokens after them, are of type 1, all else of type 0."""

ZERO, ONE = array("q", [0]), array("q", [1])
ARRAYS: Mapping[str, Column] = {
    "input_ids": lambda row, _: array("q", row.ids),
    "token_type_ids": lambda row, ones: ZERO * (len(row.ids) - ones) + ONE * ones,
    "attention_mask": lambda row, _: ONE * len(row.ids),
    "offset_mapping": lambda row, _: array("q", row.offsets),
}
"""The same columns as 64-bit integers, of which tensors are made."""


def _list_padding(key: str, fill: int) -> list[Any]:
    return [(fill,) * PER_TOKEN[key] if key in PER_TOKEN else fill]


def _array_padding(key: str, fill: int) -> PackedIds:
    return array("q", [fill] * PER_TOKEN.get(key, 1))


def as_torch(key: str, column: Sequence[PackedIds]) -> Any:
    """Rows of one length as a tensor of 64-bit integers."""
    import torch  # only who asks for tensors waits for torch

    shape, data = _shape(key, column), bytearray().join(column)
    return torch.frombuffer(data, dtype=torch.int64).view(shape) if data else torch.empty(shape, dtype=torch.int64)


def as_numpy(key: str, column: Sequence[PackedIds]) -> Any:
    """Rows of one length as a numpy array of 64-bit integers."""
    import numpy as np  # no part of the core needs it

    return np.frombuffer(bytearray().join(column), dtype=np.int64).reshape(_shape(key, column))


def _shape(key: str, column: Sequence[PackedIds]) -> tuple[int, ...]:
    sizes = sorted(set(map(len, column))) or [0]
    numbers = PER_TOKEN.get(key, 1)
    if len(sizes) > 1:
        raise ValueError(
            f"Rows of {sizes[0] // numbers} to {sizes[-1] // numbers} tokens make no tensor: ask for padding=True, and "
            f"for truncation=True where they are longer than the model takes."
        )
    shape = (len(column), sizes[0] // numbers)
    return shape if numbers == 1 else (*shape, numbers)


FORMS: Mapping[Any, Form] = {
    None: Form(list, LISTS, _list_padding, lambda _, column: column),
    "pt": Form(PACKED, ARRAYS, _array_padding, as_torch),
    "np": Form(PACKED, ARRAYS, _array_padding, as_numpy),
}
"""What a batch is returned as."""
