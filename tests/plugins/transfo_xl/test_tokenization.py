"""Transformer-XL's tokenizer against that of pytorch-pretrained-bert; its files; counting and building."""

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import ConfigError, InputError, MissingTokenizerError, UnknownOptionError, VocabError

TEXT = """ = Robert Boulter = \n\n Robert Boulter is an English film , television and theatre actor .
 He had a guest @-@ starring role on the television series The Bill in 2000 . He <unk> in the play .
\tThe the THE ΑΣ İstanbul\u00a0naïve\u2028actor <eos> role\x85role
"""
WORDS = ["<eos>", "<unk>", "the", "actor", ".", "Robert", "Boulter", "role", "=", "naïve", "<S>", "ας"]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def built(text_file: Path, **options: Any) -> TransfoXLTokenizer:
    tokenizer = TransfoXLTokenizer(**options)
    tokenizer.count_file(text_file, add_eos=True)
    tokenizer.build_vocab()
    return tokenizer


def given_words(**options: Any) -> TransfoXLTokenizer:
    return TransfoXLTokenizer({word: number for number, word in enumerate(WORDS)}, **options)


# --- Against pytorch-pretrained-bert ----------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {"special": ["<eos>"]},
    {"special": ["<eos>", "<unk>"], "lower_case": True, "min_freq": 2},
    {"special": ["<eos>", "<unk>"], "max_size": 5},
    {"special": ["<eos>", "<unk>"], "delimiter": ""},
    {"special": ["<eos>", "<unk>"], "delimiter": " ", "lower_case": True},
    {"special": ["<eos>", "<UNK>"], "delimiter": "a"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_words_counts_and_ids_are_those_of_pytorch_pretrained_bert(
    reference, text_file: Path, options: dict[str, Any]
) -> None:
    theirs = reference.TransfoXLTokenizer(**options)
    ends = [{"add_eos": False}, {"add_eos": True}][: 1 if options.get("delimiter") == "" else 2]  # it adds none there
    theirs.count_file(str(text_file), **ends[-1])
    theirs.build_vocab()
    ours = TransfoXLTokenizer(**options)
    ours.count_file(text_file, **ends[-1])
    ours.build_vocab()
    assert ours.ids_to_tokens == theirs.idx2sym
    assert ours.counter == theirs.counter
    for line in TEXT.split("\n"):
        for end in ends:
            assert ours.tokenize(line, **end) == list(theirs.tokenize(line, **end))
        if "<unk>" in ours.vocab or "<UNK>" in ours.vocab:
            assert ours.encode(line + " unheard") == theirs.convert_tokens_to_ids(theirs.tokenize(line + " unheard"))
    for end in ends:
        found, expected = ours.encode_file(text_file, **end), theirs.encode_file(str(text_file), **end)
        assert all(mine.equal(their) for mine, their in zip(found, expected, strict=True))
        assert ours.encode_file(text_file, ordered=True, **end).equal(torch.cat(expected))
    sentences = [line.split() for line in TEXT.split("\n") if line.strip()]
    if options.get("delimiter") is None:
        assert ours.encode_sents(sentences, ordered=True).equal(theirs.encode_sents(sentences, ordered=True))


@pytest.mark.parametrize("text", ["", "the", "the\n", "\n\nthe\n\nrole", "the \r\nrole\rthe", "a\x0bthe\u2028role\n"])
def test_lines_end_as_in_pytorch_pretrained_bert(reference, text: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "t.txt").write_bytes(text.encode())
    theirs = reference.TransfoXLTokenizer(special=WORDS, lower_case=True)
    theirs.build_vocab()
    expected = theirs.encode_file(str(tmp_path / "t.txt"), ordered=True).tolist() if text else []
    for characters in (1, 3, 2**20):
        monkeypatch.setattr("plugins.transfo_xl.files.CHARACTERS", characters)
        ours = given_words(lower_case=True)
        assert ours.encode_file(tmp_path / "t.txt", ordered=True).tolist() == expected
        assert ours.ids_of_file(tmp_path / "t.txt").tolist() == expected


def test_a_double_end_is_that_of_pytorch_pretrained_bert(reference) -> None:
    ours, theirs = given_words(), reference.TransfoXLTokenizer()
    assert ours.tokenize("the actor", add_double_eos=True) == theirs.tokenize("the actor", add_double_eos=True)
    assert ours.tokenize("the", add_eos=True, add_double_eos=True) == ["<S>", "the", "<S>"]


def test_lines_of_a_corpus_are_encoded_with_double_ends(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the actor\n")
    (found,) = given_words().encode_file(tmp_path / "t.txt", add_double_eos=True)
    assert found.tolist() == [10, 2, 3, 10]


@given(st.text(max_size=60))
def test_any_text_is_cut_at_white_space_and_located(text: str) -> None:
    for lower in (False, True):
        tokenizer = given_words(lower_case=lower)
        words = (text.lower() if lower else text).split()
        assert tokenizer.encode(text) == [tokenizer.vocab.get(word, 1) for word in words]
        found = tokenizer(text, return_offsets_mapping=True)
        assert found["input_ids"] == tokenizer.encode(text)
        spans = [text[start:stop] for start, stop in found["offset_mapping"]]
        assert [span.lower().strip("\u0307") if lower else span for span in spans] == [
            word.strip("\u0307") if lower else word for word in words
        ] or (lower and "Σ" in text)


# --- Special tokens ---------------------------------------------------------------------------------------------------


def test_special_tokens_are_words_unless_they_are_to_be_found_everywhere() -> None:
    assert given_words().encode("actor<eos> <eos>") == [1, 0]
    assert given_words(split_special_tokens=False).encode("actor<eos> <eos>") == [3, 0, 0]


def test_a_batch_is_what_the_model_takes() -> None:
    batch = given_words(pad_token="<eos>")(["the actor", "role"], padding=True, return_tensors="pt")
    assert batch["input_ids"].tolist() == [[2, 3], [7, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    with pytest.raises(VocabError, match="pad_token"):
        given_words()(["the actor", "role"], padding=True)


def test_an_unknown_word_without_a_word_for_it_is_an_error() -> None:
    with pytest.raises(VocabError, match="<unk>"):
        TransfoXLTokenizer({"a": 0}).encode("b")
    assert TransfoXLTokenizer({"a": 0, "<UNK>": 1}).encode("b") == [1]


def test_ids_become_text_again() -> None:
    tokenizer = given_words()
    assert tokenizer.decode(tokenizer.encode("the actor . <eos>")) == "the actor . <eos>"
    assert tokenizer.decode([2, 3, 0], skip_special_tokens=True) == "the actor"
    assert TransfoXLTokenizer({"a": 0, " ": 1}, delimiter="").decode([0, 1, 0]) == "a a"


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_vocabulary_is_one_word_a_line(tmp_path: Path) -> None:
    tokenizer = given_words(lower_case=True)
    path = tokenizer.save_vocabulary(f"{tmp_path}/")
    assert path == f"{tmp_path}/vocab.txt"
    assert Path(path).read_text("utf-8").split("\n") == [*WORDS, ""]
    assert TransfoXLTokenizer(path).vocab == tokenizer.vocab
    assert TransfoXLTokenizer(vocab_file=path).encode("the x") == [2, 1]
    assert TransfoXLTokenizer.from_pretrained(path).vocab == tokenizer.vocab
    assert TransfoXLTokenizer.from_pretrained(tmp_path).vocab == tokenizer.vocab
    own = tokenizer.save_vocabulary(tmp_path / "my_own_file.bin")
    assert TransfoXLTokenizer.from_pretrained(own).vocab == tokenizer.vocab


def test_options_and_counts_travel_with_the_vocabulary(text_file: Path, tmp_path: Path) -> None:
    tokenizer = built(text_file, special=["<eos>", "<unk>"], lower_case=True, min_freq=2)
    tokenizer.save_pretrained(tmp_path / "saved")
    for again in (TransfoXLTokenizer.from_pretrained(tmp_path / "saved"), pickle.loads(pickle.dumps(tokenizer))):
        assert again.ids_to_tokens == tokenizer.ids_to_tokens
        assert (again.lower_case, again.min_freq, tuple(again.special)) == (True, 2, ("<eos>", "<unk>"))
        assert [again.counter[word] for word in again.ids_to_tokens] == [
            tokenizer.counter[word] for word in tokenizer.ids_to_tokens
        ]
        assert again.encode(TEXT + " role") == tokenizer.encode(TEXT + " role")


@pytest.mark.parametrize("counts", ["1\n2\n", "x\n" * len(WORDS), "-1\n" * len(WORDS)])
def test_counts_that_do_not_fit_are_refused(tmp_path: Path, counts: str) -> None:
    given_words().save_pretrained(tmp_path)
    (tmp_path / "counts.txt").write_text(counts)
    with pytest.raises(VocabError, match=r"one (count for each of 12 words|number per line)"):
        TransfoXLTokenizer.from_pretrained(tmp_path)


def test_what_stands_behind_a_word_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "counted.txt").write_text("<eos> 12\n<unk>\t7\nthe 3 x\n")
    assert TransfoXLTokenizer(tmp_path / "counted.txt").vocab == {"<eos>": 0, "<unk>": 1, "the": 2}


def test_words_with_blanks_in_them_are_saved_where_something_else_stands_between_words(tmp_path: Path) -> None:
    for delimiter in ("", "|"):
        tokenizer = TransfoXLTokenizer({" ": 0, "a": 1, "b c": 2, "<unk>": 3}, delimiter=delimiter, counter={" ": 7})
        tokenizer.save_pretrained(tmp_path)
        again = TransfoXLTokenizer.from_pretrained(tmp_path)
        assert (again.vocab, again.counter[" "]) == (tokenizer.vocab, 7)
    with pytest.raises(VocabError, match="blank or a line break"):
        TransfoXLTokenizer({"a b": 0}).save_vocabulary(tmp_path)


@pytest.mark.parametrize("text", ["a\nb\na\n", "a\n\nb\n", "", "a\n   \nb\n"])
def test_damaged_vocabularies_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocab.txt").write_text(text)
    with pytest.raises(VocabError):
        TransfoXLTokenizer(tmp_path / "vocab.txt")


def test_a_folder_without_vocabulary_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingTokenizerError, match=r"vocab\.txt, vocab\.bin or vocab\.pkl"):
        TransfoXLTokenizer.from_pretrained(tmp_path)


# --- Counting ---------------------------------------------------------------------------------------------------------


def test_sentences_are_counted_and_the_most_frequent_words_come_first() -> None:
    tokenizer = TransfoXLTokenizer(special=["<unk>"], min_freq=2)
    tokenizer.count_sents([["b", "a"], ["a", "c", "a"], ["b"]])
    assert len(tokenizer) == 0
    tokenizer.build_vocab()
    assert tokenizer.ids_to_tokens == ["<unk>", "a", "b"]
    assert tokenizer.counter == Counter(a=3, b=2, c=1)
    tokenizer.count_sents([["c", "c"]])
    tokenizer.build_vocab()
    assert tokenizer.ids_to_tokens == ["<unk>", "a", "c", "b"]


def test_a_vocabulary_that_was_given_is_not_built_anew() -> None:
    tokenizer = given_words()
    tokenizer.count_sents([["x"]])
    tokenizer.build_vocab()
    assert tokenizer.ids_to_tokens == WORDS


def test_nothing_counted_makes_no_vocabulary() -> None:
    with pytest.raises(VocabError, match="nothing to build a vocabulary of"):
        TransfoXLTokenizer().build_vocab()


def test_a_bar_is_shown_where_it_is_wanted(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = TransfoXLTokenizer(special=["<eos>"])
    tokenizer.count_file(text_file)
    assert capsys.readouterr().err == ""
    tokenizer.count_file(text_file, verbose=True)
    assert "parts" in capsys.readouterr().err


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_impossible_options_are_refused() -> None:
    for options in ({"min_freq": -1}, {"max_size": 0}, {"delimiter": 3}, {"lower_case": "yes"}, {"special": "ab"}):
        with pytest.raises(ConfigError):
            TransfoXLTokenizer(**options)
    with pytest.raises(UnknownOptionError, match="lower_case"):
        TransfoXLTokenizer(lowercase=True)
    with pytest.raises(TypeError, match="special="):
        TransfoXLTokenizer(["<eos>"])


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    for read in (given_words().encode_file, given_words().count_file, given_words().ids_of_file):
        with pytest.raises(InputError, match=r"latin\.txt is not UTF-8 text"):
            read(tmp_path / "latin.txt")


def test_a_tokenizer_needs_no_torch() -> None:
    code = (
        "import sys; from plugins.transfo_xl.tokenization import TransfoXLTokenizer; "
        "TransfoXLTokenizer({'a': 0}).encode('a'); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_tensors_of_nothing_are_empty() -> None:
    assert given_words().encode_sents([[]])[0].dtype == torch.int64


def test_two_surrogates_are_the_character_that_they_mean() -> None:
    tokenizer = TransfoXLTokenizer({"<unk>": 0, "<eos>": 1, "\U0001f600": 2})
    assert tokenizer("x \ud83d\ude00 \ud800", return_offsets_mapping=True) == {
        "input_ids": [0, 2, 0], "attention_mask": [1, 1, 1], "offset_mapping": [(0, 1), (2, 4), (5, 6)],
    }  # fmt: skip


def test_names_of_pytorch_pretrained_bert_work() -> None:
    tokenizer = TransfoXLTokenizer({"<unk>": 0, "<eos>": 1, "the": 2})
    assert tokenizer.idx2sym == ["<unk>", "<eos>", "the"]
    assert tokenizer.sym2idx == {"<unk>": 0, "<eos>": 1, "the": 2}
    assert (tokenizer.get_idx("the"), tokenizer.get_idx("cat"), tokenizer.get_sym(2)) == (2, 0, "the")
    assert tokenizer.convert_to_tensor(["the", "cat"]).tolist() == [2, 0]
    with pytest.raises(VocabError, match="No token has the id 3"):
        tokenizer.get_sym(3)


def test_a_tokenizer_that_was_pickled_before_it_was_built_can_be_built() -> None:
    tokenizer = pickle.loads(pickle.dumps(TransfoXLTokenizer(special=["<unk>"])))
    tokenizer.count_sents([["the", "cat", "the"]])
    tokenizer.min_freq = 2
    tokenizer.build_vocab()
    assert tokenizer.idx2sym == ["<unk>", "the"]


def test_a_file_that_is_not_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTokenizerError, match=r"needs vocab\.txt(.|\n)*does not read tokenizer\.json"):
        TransfoXLTokenizer.from_files({"tokenizer.json": tmp_path / "tokenizer.json"})
