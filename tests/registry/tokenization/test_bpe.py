"""Byte-pair encoding: files of rules, whole and damaged, and what rules make of words."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.errors import VocabError
from registry.tokenization import bpe
from registry.tokenization.bpe import BytePairs, Merges, listed_merges, parse_merges, read_json_vocabulary, read_merges


def pairs(merges: Merges) -> list[tuple[str, str]]:
    return list(zip(merges.firsts, merges.seconds, strict=True))


def parsed(text: str) -> list[tuple[str, str]]:
    return pairs(parse_merges(text.encode(), origin="merges.txt"))


def numbered(rules: list[tuple[str, str]], letters: str = "abcd") -> dict[str, int]:
    """A vocabulary of letters and of what rules make of them."""
    tokens = dict.fromkeys([*letters, *(token for pair in rules for token in (*pair, "".join(pair)))])
    return {token: number for number, token in enumerate(tokens)}


def of(rules: list[tuple[str, str]], vocab: dict[str, int]) -> BytePairs:
    return BytePairs(listed_merges(rules, origin="the rules"), vocab)


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "#version: 0.2\n", "#version: 0.2 - trained by somebody\n", "\ufeff#version\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n \n", "\r\n"])
def test_header_and_final_newline_make_no_difference(header: str, end: str) -> None:
    assert parsed(f"{header}a b\n# #\nab c{end}") == [("a", "b"), ("#", "#"), ("ab", "c")]


def test_the_last_rule_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_bytes("#version: 0.2\nĠ t\nh e".encode())
    assert pairs(read_merges(tmp_path / "merges.txt")) == [("Ġ", "t"), ("h", "e")]


def test_line_ends_of_windows_and_blanks_around_rules_are_dropped() -> None:
    assert parsed("#version: 0.2\r\na b\r\n c d \t\n") == [("a", "b"), ("c", "d")]


def test_a_header_alone_is_no_rules() -> None:
    assert parsed("#version: 0.2") == parsed("#version: 0.2\n") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "merges.txt is empty"),
        ("\n \n", "merges.txt is empty"),
        ("a b\nab\n", "line 2: 'ab' is not a rule of two symbols"),
        ("#version: 0.2\na b\nab c d\n", "line 3: 'ab c d' is not a rule"),
        ("#version: 0.2\na b\n\nab c\n", "line 3: '' is not a rule"),
        ("a b\n# a comment\n", "line 2: '# a comment' is not a rule"),
        ("a  b\n", "line 1: 'a  b' is not a rule"),
        ("a b\0\n", "line 1 has a NUL byte"),
    ],
)
def test_a_line_that_is_no_rule_is_refused_with_its_number(text: str, fault: str) -> None:
    with pytest.raises(VocabError, match=fault):
        parsed(text)


def test_bytes_that_are_not_utf8_are_refused_with_their_line() -> None:
    with pytest.raises(VocabError, match="line 2 has the byte 0xff"):
        parse_merges(b"a b\n\xff c\n", origin="merges.txt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match=r"gone\.txt could not be read: No such file"):
        read_merges(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("#version: 0.2\na b\nb c\na b\n", r"merges\.txt, line 4: the rule 'a b' stands already in .*line 2"),
        ("a b\nb x\n", r"line 2: the rule 'b x' needs the token 'x', which is not in the vocabulary"),
        ("a b\nab a\n", r"line 2: the rule 'ab a' needs the token 'aba'"),
    ],
)
def test_rules_that_do_not_fit_the_vocabulary_are_refused_with_their_line(text: str, fault: str) -> None:
    with pytest.raises(VocabError, match=fault):
        BytePairs(parse_merges(text.encode(), origin="merges.txt"), {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4})


@pytest.mark.parametrize("rule", ["a", "a b c", ["a"], ["a", "b", "c"], ["a", 1], ["a", ""], None, 5])
def test_listed_rules_are_checked_as_well(rule: object) -> None:
    assert pairs(listed_merges(["a b", ["c", "d"], ("e f", "g")], origin="x")) == [("a", "b"), ("c", "d"), ("e f", "g")]
    with pytest.raises(VocabError, match=r"x, number 2: .* is not a rule of two symbols"):
        listed_merges(["a b", rule], origin="x")


def test_the_number_of_rules_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "MOST_TOKENS", 2)
    with pytest.raises(VocabError, match="number 3: no vocabulary needs more than 2 rules"):
        of([("a", "b"), ("b", "c"), ("c", "d")], {})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": 0, "a": 1}', "the key 'a' occurs twice"),
        ('["a"]', "holds a JSON array"),
        ('{"a": NaN}', "NaN"),
        ("", "not JSON"),
        ("<html>", "looks like an HTML page"),
    ],
)
def test_a_vocabulary_that_is_no_map_of_tokens_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "vocab.json").write_text(text)
    with pytest.raises(VocabError, match=fault):
        read_json_vocabulary(tmp_path / "vocab.json")


def test_a_vocabulary_keeps_the_order_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"b": 0, "ü</w>": 1}))
    assert list(read_json_vocabulary(tmp_path / "vocab.json").items()) == [("b", 0), ("ü</w>", 1)]


# --- Rules ------------------------------------------------------------------------------------------------------------


def merged(word: str, rules: list[tuple[str, str]]) -> list[str]:
    """The definition, word for word: the first rule that applies, at the leftmost place, until none applies."""
    symbols = list(word)
    while True:
        places = [
            (rules.index(pair), place)
            for place, pair in enumerate(zip(symbols, symbols[1:], strict=False))
            if pair in rules
        ]
        if not places:
            return symbols
        _, place = min(places)
        symbols[place : place + 2] = ["".join(symbols[place : place + 2])]


@st.composite
def rules_and_words(draw: st.DrawFn) -> tuple[list[tuple[str, str]], str]:
    """Rules that build on each other, in any order, and a word of their letters."""
    symbols = ["a", "b", "c"]
    rules: dict[tuple[str, str], None] = {}
    for _ in range(draw(st.integers(0, 12))):
        pair = (draw(st.sampled_from(symbols)), draw(st.sampled_from(symbols)))
        rules[pair] = None
        if len("".join(pair)) <= 8:
            symbols.append("".join(pair))
    return draw(st.permutations(list(rules))), draw(st.text("abcd", max_size=40))


EARLIER_RULE_OF_A_MERGED_SYMBOL = ([("ab", "a"), ("a", "b")], "abab")
"""The first rule applies as soon as the second one has made its symbol, before the second one applies again."""


def test_an_earlier_rule_comes_first_as_soon_as_it_applies() -> None:
    rules, word = EARLIER_RULE_OF_A_MERGED_SYMBOL
    vocab = numbered(rules)
    byte_pairs = of(rules, vocab)
    for merge in (byte_pairs.merge, byte_pairs._merge_long):
        assert merge([vocab[letter] for letter in word]) == [vocab["aba"], vocab["b"]]
    many = [vocab[letter] for letter in word * 25]
    assert byte_pairs.merge(list(many)) == [vocab[symbol] for symbol in merged(word * 25, rules)]


@example(EARLIER_RULE_OF_A_MERGED_SYMBOL)
@given(rules_and_words())
def test_rules_apply_in_the_order_of_their_file(example: tuple[list[tuple[str, str]], str]) -> None:
    rules, word = example
    vocab = numbered(rules)
    expected = [vocab[symbol] for symbol in merged(word, rules)]
    byte_pairs = of(rules, vocab)
    assert byte_pairs.merge([vocab[letter] for letter in word]) == expected
    assert byte_pairs._merge_long([vocab[letter] for letter in word]) == expected


def test_symbols_without_rules_stay() -> None:
    vocab = numbered([("a", "b")])
    byte_pairs = of([("a", "b")], vocab)
    assert byte_pairs.merge([]) == []
    assert byte_pairs.merge([vocab["c"]]) == [vocab["c"]]
    for merge in (byte_pairs.merge, byte_pairs._merge_long):
        assert merge([99, vocab["a"], vocab["b"], 99]) == [99, vocab["ab"], 99]


@pytest.mark.parametrize("letters", ["a", "ab", "abc"])
def test_work_grows_hardly_faster_than_a_word(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [("ab", "a"), ("a", "a"), ("a", "b"), ("aa", "aa"), ("ab", "c"), ("aaaa", "aaaa"), ("b", "c"), ("ab", "ab")]
    vocab = numbered(rules)
    byte_pairs = of(rules, vocab)
    operations = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal operations
            operations += 1
            return operation(*arguments)

        return call

    for name in ("heappush", "heappop"):
        monkeypatch.setattr(bpe, name, counted(getattr(bpe, name)))

    def work(size: int) -> int:
        nonlocal operations
        operations = 0
        rng = random.Random(size)
        byte_pairs.merge([vocab[rng.choice(letters)] for _ in range(size)])
        return operations

    assert 0 < work(100_000) < 11 * work(10_000)
    assert work(10_000) < 6 * 10_000  # each pair waits once, and each merge makes two new ones at most


def test_long_words_are_kept_in_a_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    byte_pairs = of([("a", "a")], {"a": 0, "aa": 1})
    monkeypatch.setattr(byte_pairs, "_merge_long", lambda symbols: [len(symbols)])
    assert byte_pairs.merge([0] * bpe.LONG_WORD) == [1] * (bpe.LONG_WORD // 2)
    assert byte_pairs.merge([0] * (bpe.LONG_WORD + 1)) == [bpe.LONG_WORD + 1]
