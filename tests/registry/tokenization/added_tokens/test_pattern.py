"""Patterns that find tokens."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.tokenization.added_tokens.pattern import DEEPEST, is_of_word, longest_of

WORDS = st.lists(st.text("ab.|\n(é", max_size=4), max_size=8)


@given(words=WORDS, text=st.text("ab.|\n(é", max_size=12))
def test_the_longest_word_that_starts_first_is_found(words: list[str], text: str) -> None:
    found = re.compile(longest_of(words)).search(text) if words else None
    starts = [index for index in range(len(text) + 1) if any(text.startswith(word, index) for word in words)]
    if not starts:
        assert found is None
    else:
        assert found is not None
        assert found.start() == starts[0]
        assert found.group() == max((word for word in words if text.startswith(word, starts[0])), key=len)


def test_words_that_start_alike_are_compared_once_and_not_too_deeply() -> None:
    assert longest_of(["[CLS]", "[SEP]", "[SEP"]) == r"\[(?:CLS\]|SEP(?:\])?)"
    words = ["a" * length for length in range(1, 20 * DEEPEST)]
    pattern = re.compile(longest_of(words))
    for length in (1, DEEPEST - 1, DEEPEST, DEEPEST + 1, 15 * DEEPEST, 30 * DEEPEST):
        found = pattern.match("a" * length + "b")
        assert found is not None
        assert found.end() == min(length, len(words))


@pytest.mark.parametrize(
    ("character", "is_one"), [*((each, True) for each in "aé中9_\u0301Ⅷⓐ\u200d"), *((each, False) for each in "²½.- €")]
)
def test_characters_of_words_are_those_of_rust(character: str, is_one: bool) -> None:
    assert is_of_word(character) is is_one
