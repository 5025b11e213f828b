"""Words and punctuation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.tokenization.words import BasicTokenizer, CharacterNormalizer, WhitespaceTokenizer, is_punctuation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  \t\n\r\u00a0\u3000\u2028 ", []),
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("don't", ["don", "'", "t"]),
        ("Ünïcödé e\u0301", ["unicode", "e"]),
        ("ΣΑΣ", ["σασ"]),
        ("İstanbul", ["istanbul"]),
        ("a\u200bb\x00c\ufffdd\ue000e\u00adf", ["abcdef"]),
        ("中国a字", ["中", "国", "a", "字"]),
        ("a\x0bb\x0cc\x1cd\x85e", ["abcde"]),
        ("$5+`x`", ["$", "5", "+", "`", "x", "`"]),
        ("¿qué?", ["¿", "que", "?"]),
        ("\u0378a", ["\u0378a"]),
        ("a\ud800b", ["ab"]),
    ],
)
def test_text_is_cut_as_bert_cuts_it(text: str, words: list[str]) -> None:
    assert BasicTokenizer().tokenize(text) == words


def test_case_and_accents_can_be_kept() -> None:
    assert BasicTokenizer(do_lower_case=False).tokenize("Né Ž") == ["Né", "Ž"]
    assert BasicTokenizer(strip_accents=False).tokenize("Né Ž") == ["né", "ž"]
    assert BasicTokenizer(do_lower_case=False, strip_accents=True).tokenize("Né Ž") == ["Ne", "Z"]


def test_chinese_characters_can_be_left_in_words() -> None:
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("中国a 字") == ["中国a", "字"]


def test_words_that_are_never_split_stay_whole_between_spaces() -> None:
    assert BasicTokenizer().tokenize("A [MASK] [MASK].") == ["a", "[MASK]", "[", "mask", "]", "."]
    assert BasicTokenizer(never_split=["Don't"]).tokenize("Don't [MASK]") == ["Don't", "[", "mask", "]"]


@given(st.text())
def test_words_with_offsets_are_the_words_and_lie_in_order(text: str) -> None:
    splitter = BasicTokenizer()
    found = [found for chunk in splitter.chunk.findall(text) for found in splitter.words_with_offsets(chunk)]
    assert [word for word, _ in found] == splitter.tokenize(text)
    assert all(len(word) == len(places) and list(places) == sorted(places) for word, places in found)


def test_marks_that_stay_come_in_canonical_order() -> None:
    # U+302E (class 224) and U+1D165 (class 216) are spacing marks: no accents, yet they change places.
    assert BasicTokenizer().tokenize("a\u302e\U0001d165b") == ["a\U0001d165\u302eb"]
    assert BasicTokenizer(strip_accents=False).tokenize("a\u302e\U0001d165b") == ["a\u302e\U0001d165b"]


@given(st.text())
def test_cutting_at_white_space_changes_nothing(text: str) -> None:
    assert WhitespaceTokenizer().chunks(text) == text.split()
    found = WhitespaceTokenizer().words_with_offsets(text)
    assert [text[offset] for _, offsets in found for offset in offsets] == list(text)


def test_every_sign_of_ascii_is_punctuation() -> None:
    assert "".join(filter(is_punctuation, map(chr, range(128)))) == "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def test_normalized_characters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.tokenization.words.MOST_CHARACTERS", 5)
    normalizer = CharacterNormalizer(lower=True, strip_accents=True, ideographs=())
    assert normalizer.normalize("ABCDEFGHIJ") == "abcdefghij"
    assert len(normalizer) <= 5


def test_text_is_normalized_as_it_is_cut_with_its_spaces_and_signs() -> None:
    tokenizer = BasicTokenizer(never_split=["DON'T", "É"])
    text = "DON'T É\tÉté\u0301,\x00 中DON'T"
    assert tokenizer.normalize(text) == "DON'T É ete,  中 don't"
    assert "".join(tokenizer.normalize_each(text)) == tokenizer.normalize(text)
    assert len(tokenizer.normalize_each(text)) == len(text)
    words = tokenizer.of_normalized().tokenize(tokenizer.normalize(text))
    assert words == tokenizer.tokenize(text) == ["DON'T", "É", "ete", ",", "中", "don", "'", "t"]
