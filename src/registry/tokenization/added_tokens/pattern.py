"""Patterns that find tokens, and the classes of characters around them, as ``tokenizers`` has them."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import compress, count, groupby
from operator import ne
from unicodedata import category

WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""The class of white space of ``regex`` and of Rust; ``\\s`` of ``re`` has U+001C to U+001F as well."""

WORD_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc"})
WORD_SIGNS = "[\u200c\u200d\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]"
"""Other characters of words: joiners, and letters in circles and squares (Unicode Technical Standard 18, annex C)."""

DEEPEST = 50
"""Groups that may stand in each other in a pattern; Python's compiler is recursive."""


def is_of_word(character: str) -> bool:
    r"""Whether a character is one of a word: ``\w`` of Rust, which has marks, and no superscript digits."""
    return category(character) in WORD_CATEGORIES or re.match(WORD_SIGNS, character) is not None


@cache
def white_space() -> re.Pattern[str]:
    """Finds one such character; compiled when a token that takes the white space around it is first looked for."""
    return re.compile(f"[{WHITE_SPACE}]")


@cache
def spaces() -> re.Pattern[str]:
    """Finds as many as there are."""
    return re.compile(f"[{WHITE_SPACE}]*+")


def _common(first: str, other: str) -> int:
    """Characters with which two words start alike."""
    return next(compress(count(), map(ne, first, other)), min(len(first), len(other)))


def longest_of(words: Iterable[str]) -> str:
    """A pattern that finds, where several of some words start, the longest; common beginnings are compared once."""
    return _branches(sorted(set(words)), 0)


def _branches(words: Sequence[str], depth: int) -> str:
    """The pattern of sorted words."""
    if depth == DEEPEST:
        return f"(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})"
    branches = []
    for _, group in groupby(filter(None, words), key=lambda word: word[0]):
        first, *others = group
        common = _common([first, *others][-1], first)
        rest = _branches([word[common:] for word in (first, *others)], depth + 1) if others else ""
        branches.append(re.escape(first[:common]) + rest)
    if len(branches) == 1 and words[0]:
        return branches[0]
    return f"(?:{'|'.join(branches)}){'' if words and words[0] else '?'}"
