"""Spans of text, and their tokens: ids and offsets."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from registry.tokenization.chunk_cache import CachedIds, TokenIds

T = TypeVar("T")
SpanIds: TypeAlias = Iterable[int] | CachedIds
"""Ids as an algorithm gives them."""
Row: TypeAlias = "list[int] | TokenIds"
"""Ids as a batch is made of them: lists for lists, and 64-bit integers for tensors."""
RowOf: TypeAlias = Callable[[SpanIds], Any]
"""Makes a row: ``as_list`` or ``as_array``."""
Offsets: TypeAlias = list[tuple[int, int]]
"""For each token the start and the end of its characters in a text."""
Range: TypeAlias = tuple[int, int]
"""The first of some tokens, and the one behind the last."""


class Span(NamedTuple):
    """Text in which no added token is to be found: what a tokenizer's own algorithm is given."""

    text: str
    follows_token: bool = False
    """Whether an added token stands before it, in the same text."""
    is_normalized: bool = False
    """Whether the algorithm's normalizer was applied to it."""


class Encoding(NamedTuple):
    """The tokens of a text."""

    ids: Row
    offsets: Offsets
    """Empty where they were not asked for."""

    def part(self, tokens: Range) -> "Encoding":
        """Some of the tokens."""
        start, stop = tokens
        if stop - start == len(self.ids):
            return self
        return Encoding(self.ids[start:stop], self.offsets[start:stop])


class Template(NamedTuple, Generic[T]):
    """Special tokens around one text (start, end) or two (all of them): their names, ids, or encodings."""

    start: T
    between: T
    """After the first of two texts; of its type."""
    end: T
    opening: T | tuple[()] = ()
    """After those, before the second text; of its type."""


NOTHING: Template[list[int]] = Template([], [], [], [])


def join(*encodings: Encoding) -> Encoding:
    """Encodings with rows of one kind, one after the other."""
    ids, offsets = zip(*encodings, strict=True)
    return Encoding(reduce(add, ids), reduce(add, offsets))


def special(ids: Row) -> Encoding:
    """Tokens that were added to a text, and have no characters in it."""
    return Encoding(ids, [(0, 0)] * len(ids))


def without_prefix(offsets: Offsets, length: int) -> Offsets:
    """Offsets in a text, of those in a text with a prefix of some length; tokens of the prefix are at what follows."""
    return [(max(start - length, 0), max(end - length, 1)) for start, end in offsets] if length else offsets


# --- Surrogates -------------------------------------------------------------------------------------------------------
# A text that was decoded badly has a character above U+FFFF as two surrogates, for which UTF-8 has no bytes.  They are
# read as that character, and lone ones as U+FFFD, as tiktoken does.


def has_surrogates(text: str) -> bool:
    """Whether a text cannot be written in UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def joined_surrogates(text: str) -> str:
    """The text, in which pairs of surrogates have become the character that they are, and lone ones U+FFFD."""
    if not has_surrogates(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def with_surrogates(text: str, offsets: Offsets) -> Offsets:
    """Offsets in a text, of those in ``joined_surrogates(text)``."""
    joined = joined_surrogates(text)
    if len(joined) == len(text):
        return offsets
    places = [0]
    for character in joined:
        places.append(places[-1] + (1 if character == text[places[-1]] or character == "\ufffd" else 2))
    return [(places[start], places[end]) for start, end in offsets]
