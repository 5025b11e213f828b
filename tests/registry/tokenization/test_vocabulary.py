"""Vocabulary files, whole and damaged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import VocabError
from registry.tokenization import vocabulary
from registry.tokenization.vocabulary import parse_vocabulary, read_vocabulary, tokens_by_id


def parsed(data: bytes) -> list[str]:
    return list(parse_vocabulary(data, origin="vocab.txt"))


def test_the_id_of_a_token_is_the_number_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\nb\n##ü\n".encode())
    assert read_vocabulary(path) == {"a": 0, "b": 1, "##ü": 2}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match=r"gone\.txt could not be read: No such file"):
        read_vocabulary(tmp_path / "gone.txt")


def test_duplicate_lines_are_refused_with_both_line_numbers() -> None:
    with pytest.raises(VocabError, match="'b' stands in line 2 and again in line 4"):
        parsed(b"a\nb\nc\nb\n")


WORDS = st.text(st.characters(min_codepoint=33, exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cf")), min_size=1)
BLANKS = st.text(" \t", max_size=3)


@given(st.lists(st.tuples(BLANKS, WORDS, BLANKS), min_size=1, unique_by=lambda line: line[1]))
def test_blanks_around_tokens_are_stripped_as_pytorch_pretrained_bert_did(lines: list[tuple[str, str, str]]) -> None:
    texts = ["".join(line) for line in lines]
    assert parsed("\n".join(texts).encode()) == [text.strip() for text in texts]


def test_a_space_of_unicode_is_a_token_where_pytorch_pretrained_bert_made_an_empty_one() -> None:
    assert parsed("a\n\u2028\n\u00a0\nb\n".encode()) == ["a", "\u2028", "\u00a0", "b"]


@pytest.mark.parametrize("line", [b"", b"  ", b"\t", b"\r"])
def test_a_blank_line_between_tokens_is_refused(line: bytes) -> None:
    with pytest.raises(VocabError, match="line 2 is blank"):
        parsed(b"a\n" + line + b"\nb\n")


def test_blank_lines_at_the_end_are_dropped() -> None:
    assert parsed(b"a\nb\n\n \n") == ["a", "b"]


def test_lines_end_at_line_feeds_only() -> None:
    assert parsed("a\r\nb\rc\nd\u2028e\u0085f\x0bg\r\n".encode()) == ["a", "b\rc", "d\u2028e\u0085f\x0bg"]


def test_a_byte_order_mark_is_dropped() -> None:
    assert parsed("\ufeffa\nb\n".encode()) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a\nb\xff\nc\n", "line 2 has the byte 0xff"),
        ("a\nb\n".encode("utf-16"), "line 1 has a NUL byte"),
        (b"a\nb\n\0\n", "line 3 has a NUL byte"),
    ],
)
def test_other_encodings_are_refused_with_the_line(data: bytes, fault: str) -> None:
    with pytest.raises(VocabError, match=fault):
        parsed(data)


def test_the_last_token_needs_no_line_end() -> None:
    assert parsed(b"a\nb") == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    with pytest.raises(VocabError, match="empty"):
        parsed(data)


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, unique=True), st.booleans())
def test_a_token_may_be_as_long_as_the_limit_says_wherever_it_stands(tokens: list[str], ended: bool) -> None:
    data = ("\n".join(tokens) + "\n" * ended).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vocabulary, "LONGEST_TOKEN", 4)
        if max(map(len, tokens)) <= 4:
            assert parsed(data) == tokens
            assert parsed(data.replace(b"\n", b"     \n")) == tokens
        else:
            with pytest.raises(VocabError, match=r"has [5-9] characters"):
                parsed(data)


def test_a_token_of_absurd_length_is_refused() -> None:
    with pytest.raises(VocabError, match="line 2 has 70,000 characters"):
        parsed(b"a\n" + b"x" * 70_000 + b"\n")


def test_a_file_of_absurd_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VocabError, match="more than 5,000,000 lines"):
        parsed(b"\n" * 5_000_001)
    monkeypatch.setattr(vocabulary, "MOST_BYTES", 10)
    with pytest.raises(VocabError, match="or 10 bytes"):
        parsed(b"x" * 11)


@pytest.mark.parametrize(
    ("vocab", "fault"),
    [
        ({"a": 0, "b": 2}, "no token has the id 1"),
        ({"a": 1, "b": 2}, "no token has the id 0"),
        ({"a": -1, "b": 0}, "'a' has the id -1"),
        ({"a": 0, "b": 0}, "'a' and 'b' share the id 0"),
        ({"a": 0, "b": 1.0}, "not 'b' to 1.0"),
        ({"a": 0, "b": True}, "not 'b' to True"),
        ({}, "it is empty"),
    ],
)
def test_ids_must_count_from_zero_without_gaps(vocab: dict[str, int], fault: str) -> None:
    with pytest.raises(VocabError, match=fault):
        tokens_by_id(vocab, origin="vocab.json")


@given(st.permutations(range(20)))
def test_ids_may_come_in_any_order(order: list[int]) -> None:
    assert tokens_by_id({f"t{number}": number for number in order}, origin="") == [f"t{number}" for number in range(20)]
