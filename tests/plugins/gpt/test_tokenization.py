"""GPT's tokenizer on a vocabulary of our own."""

import copy
import json
import multiprocessing
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpt import tokenization
from plugins.gpt.tokenization import OpenAIGPTTokenizer, text_standardize
from registry.errors import RegistryWarning, UnsupportedError, VocabError
from registry.testing.tokenizers import lines_run

LETTERS = [*"abcdefghijklmnopqrstuvwxyz.,!?'-1"]
RULES = [
    ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o</w>"), ("o", "r"), ("l", "d</w>"), ("t", "h"), ("th", "e</w>"),
    ("e", "s</w>"), ("e", "s"),
]  # fmt: skip
TOKENS = ["!!", "<unk>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), *("".join(rule) for rule in RULES)]
VOCAB = {token: number for number, token in enumerate(TOKENS)}


def made(**options: Any) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer(VOCAB, RULES, **{"use_spacy": False, **options})


TOKENIZER = made()


@pytest.fixture
def tokenizer() -> OpenAIGPTTokenizer:
    return made(max_len=512)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_text(json.dumps(VOCAB))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in RULES))
    return tmp_path


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A ``tokenizer.json`` that describes a GPT tokenizer; ``changes`` are parts to replace."""
    return {
        "version": "1.0",
        "added_tokens": [{"id": 1, "content": "<unk>", "normalized": False, "special": True}],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "end_of_word_suffix": "</w>",
            "vocab": VOCAB,
            "merges": [" ".join(rule) for rule in RULES],
        },
        **changes,
    }


# --- Text to ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello", ["hello</w>"]),
        ("the World.", ["the</w>", "w", "or", "ld</w>", ".</w>"]),
        ("hellos", ["hell", "o", "s</w>"]),
        ("es ese", ["es</w>", "es", "e</w>"]),
        ("  \n ", []),
        ("", []),
        ("Thé", ["the</w>"]),
        ("a\x0bb", ["a", "b</w>"]),
    ],
)
def test_words_in_lower_case_are_characters_that_rules_merge(
    tokenizer: OpenAIGPTTokenizer, text: str, tokens: list[str]
) -> None:
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.encode(text) == [VOCAB[token] for token in tokens]


def test_a_character_that_the_vocabulary_lacks_is_unknown_and_never_the_first_token(
    tokenizer: OpenAIGPTTokenizer,
) -> None:
    assert tokenizer.tokenize("he中 жa") == ["h", "e</w>", "<unk>", "<unk>", "a</w>"]
    assert tokenizer.convert_tokens_to_ids(["zz", "a"]) == [VOCAB["<unk>"], VOCAB["a"]]


def test_offsets_are_those_of_the_text_that_was_given(tokenizer: OpenAIGPTTokenizer) -> None:
    batch = tokenizer(" Hellos\u200b, Thé ж", return_offsets_mapping=True)
    assert batch["offset_mapping"] == [(1, 5), (5, 6), (6, 7), (8, 9), (10, 13), (14, 15)]


@given(st.text() | st.text("hel o,'é中THE \x0b\u0301\ud800"))
def test_lists_tensors_and_offsets_have_the_same_ids_and_offsets_in_order(text: str) -> None:
    batch = TOKENIZER(text, return_offsets_mapping=True)
    assert batch["input_ids"] == TOKENIZER.encode(text)
    assert [batch["input_ids"]] == TOKENIZER(text, return_tensors="np")["input_ids"].tolist()
    assert all(0 <= start < stop <= len(text) for start, stop in batch["offset_mapping"])
    starts = [start for start, _ in batch["offset_mapping"]]
    assert starts == sorted(starts)


# --- Special tokens ---------------------------------------------------------------------------------------------------

SPECIAL = ["_start_", "_Delimiter_", "_classify_"]


def test_special_tokens_are_kept_whole_and_follow_the_vocabulary() -> None:
    tokenizer = made(special_tokens=SPECIAL)
    assert tokenizer.tokenize("_start_ Hello_Delimiter_the _classify_.") == [
        "_start_", "hello</w>", "_Delimiter_", "the</w>", "_classify_", ".</w>",
    ]  # fmt: skip
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == [len(VOCAB), len(VOCAB) + 1, len(VOCAB) + 2]
    assert len(tokenizer) == len(VOCAB) + 3
    assert set(SPECIAL) <= set(tokenizer.all_special_tokens)
    assert tokenizer.tokenize("_start_", split_special_tokens=True) == [
        "<unk>", "s", "t", "a", "r", "t</w>", "<unk>",
    ]  # fmt: skip


def test_special_tokens_can_be_replaced(tokenizer: OpenAIGPTTokenizer) -> None:
    tokenizer.set_special_tokens(SPECIAL)
    tokenizer.set_special_tokens(["_classify_"])
    assert tokenizer.convert_tokens_to_ids("_classify_") == len(VOCAB)
    assert len(tokenizer.tokenize("_start_ _classify_")) == 8
    tokenizer.set_special_tokens(())
    assert len(tokenizer) == len(VOCAB)


# --- Tokens to text ---------------------------------------------------------------------------------------------------


def test_words_are_set_apart_by_spaces() -> None:
    tokenizer = made(special_tokens=SPECIAL)
    ids = tokenizer.encode("_start_ Hello, world _classify_")
    assert tokenizer.decode(ids) == "_start_ hello , world _classify_"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello , world"
    assert tokenizer.decode(VOCAB["hell"]) == "hell"
    assert tokenizer.decode([]) == ""


# --- The two ways to cut text -----------------------------------------------------------------------------------------


@pytest.fixture
def without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if spaCy were not installed, and nobody had been told."""
    monkeypatch.setitem(sys.modules, "spacy", None)
    tokenization._warn_of_missing_spacy.cache_clear()


def test_a_missing_spacy_is_said_once(without_spacy: None) -> None:
    with pytest.warns(RegistryWarning, match=r"ftfy and spaCy, with which GPT was trained, are not installed"):
        fallback = made(use_spacy=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(use_spacy=None)
    assert fallback.tokenize("Hello, the") == ["hello</w>", ",</w>", "the</w>"]


def test_spacy_is_missed_where_it_is_asked_for(without_spacy: None) -> None:
    with pytest.raises(ModuleNotFoundError):
        made(use_spacy=True)


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ("a—b–c―d", "a - b - c - d"),
        ("wait…", "wait..."),
        ("it´s", "it's"),
        ("(a)[b]{c}", "( a ) [ b ] { c }"),
        ('"x"!!??', '" x " !! ??'),
        ("a \n\n b\t\tc", "a \n b c"),
        ("  a_b/c\\d*e+f,g;h|i~j ", "a _ b / c \\ d * e + f , g ; h | i ~ j"),
        ("", ""),
    ],
)
def test_text_is_standardized_as_openai_did(text: str, standard: str) -> None:
    assert text_standardize(text) == standard


def test_spacy_cuts_words_where_it_is_installed() -> None:
    pytest.importorskip("ftfy", reason="the extra gpt is not installed")
    pytest.importorskip("spacy", reason="the extra gpt is not installed")
    tokenizer = made(use_spacy=True)
    assert tokenizer.tokenize("Don't\nthe") == ["d", "o</w>", "n", "'", "t</w>", "<unk>", "the</w>"]
    assert tokenizer.tokenize("Thé") == ["th", "<unk>"]  # accents are kept
    assert tokenizer.tokenize("\ud800 ") == ["<unk>"]
    assert tokenizer.tokenize("") == []
    with pytest.raises(UnsupportedError, match="not known once ftfy has repaired a text"):
        tokenizer("the", return_offsets_mapping=True)


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_vocabulary_without_unk_is_refused() -> None:
    with pytest.raises(VocabError, match=r"has the unk_token '<unk>', which its vocabulary lacks"):
        OpenAIGPTTokenizer({"a": 0, "a</w>": 1}, [], use_spacy=False)


@pytest.mark.parametrize("numbers", [[0, 2], [-1, 0], [0, 0], [0, 1.0], [0, "1"]])
def test_a_vocabulary_with_impossible_ids_is_refused(folder: Path, numbers: list[Any]) -> None:
    (folder / "vocab.json").write_text(json.dumps(dict(zip(["<unk>", "a"], numbers, strict=True))))
    with pytest.raises(VocabError, match=r"vocab\.json must"):
        OpenAIGPTTokenizer(folder / "vocab.json", use_spacy=False)


def test_the_last_rule_of_a_file_without_final_newline_is_kept(folder: Path) -> None:
    text = (folder / "merges.txt").read_text()
    (folder / "merges.txt").write_text(text.removesuffix("\n"))
    assert OpenAIGPTTokenizer(folder / "vocab.json", use_spacy=False).tokenize("esa") == ["es", "a</w>"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\0", "\u0301", "</w>", "a</w>", "\U0010ffff", "\ufffe"])
def test_no_string_raises(tokenizer: OpenAIGPTTokenizer, text: str) -> None:
    assert tokenizer(text)["input_ids"] == tokenizer(text, return_offsets_mapping=True)["input_ids"]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: "hello" * (size // 5),
        lambda size: "a," * (size // 2),
        lambda size: "中" * size,
        lambda size: "a" + "\u0301\u0323" * (size // 2),
        lambda size: "_start" * (size // 6),
        lambda size: "_start_" * (size // 7),
        lambda size: " " * size,
    ],
    ids=["x", "hello", "punctuation", "ideographs", "accents", "almost special", "special", "spaces"],
)
def test_work_is_linear_in_the_text(make: Callable[[int], str]) -> None:
    def work(size: int) -> int:
        text, tokenizer = make(size), made(special_tokens=SPECIAL)
        return lines_run(lambda: (tokenizer(text), tokenizer(text, return_offsets_mapping=True)))

    assert work(20_000) < 11 * work(2_000) + 1000


@pytest.mark.slow
def test_a_word_of_a_megabyte_is_tokenized() -> None:
    text = "".join(random.Random(0).choices("helo", k=1_000_000))
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_the_documented_recipe_for_specific_paths(tmp_path: Path) -> None:
    tokenizer = made(special_tokens=SPECIAL)
    output_vocab_file = str(tmp_path / "models" / "my_own_vocab_file.bin")
    assert tokenizer.save_vocabulary(output_vocab_file) == output_vocab_file
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "merges.txt", "my_own_vocab_file.bin", "special_tokens.txt",
    ]  # fmt: skip
    again = OpenAIGPTTokenizer(output_vocab_file, use_spacy=False)
    assert again.encode("_start_ hello") == tokenizer.encode("_start_ hello")


def test_special_tokens_of_a_folder_give_way_to_those_of_the_call(folder: Path) -> None:
    (folder / "special_tokens.txt").write_text("_a_\n_b_\n")
    assert OpenAIGPTTokenizer.from_pretrained(folder, use_spacy=False).special_tokens == ("_a_", "_b_")
    chosen = OpenAIGPTTokenizer.from_pretrained(folder, special_tokens=["_c_"], use_spacy=False)
    assert chosen.convert_tokens_to_ids("_c_") == len(VOCAB)


def test_options_travel_with_a_saved_folder(tmp_path: Path) -> None:
    tokenizer = made(special_tokens=SPECIAL, max_len=77, pad_token="_classify_")
    tokenizer.save_pretrained(tmp_path)
    again = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert {name: getattr(again, name) for name in again.options} == {
        name: getattr(tokenizer, name) for name in tokenizer.options
    }
    assert again.get_vocab() == tokenizer.get_vocab()


def test_a_folder_with_only_tokenizer_json_is_cut_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    tokenizer = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("Hello<unk>") == ["hello</w>", "<unk>"]
    assert tokenizer.use_spacy is False


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": {"vocab": VOCAB, "merges": [], "end_of_word_suffix": ""}}, "end_of_word_suffix is ''"),
        ({"model": {"vocab": VOCAB, "merges": [], "end_of_word_suffix": None}}, "end_of_word_suffix is None"),
        ({"model": {"vocab": VOCAB, "merges": [], "fuse_unk": True}}, "fuse_unk is True"),
        ({"normalizer": {"type": "BertNormalizer", "lowercase": False}}, "lowercase is False"),
        ({"normalizer": None}, "must be a BertNormalizer"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer.type is 'ByteLevel'"),
    ],
)
def test_a_tokenizer_json_that_is_not_gpts_is_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(**changes)))
    with pytest.raises(VocabError, match=fault):
        OpenAIGPTTokenizer.from_pretrained(tmp_path)


# --- Processes --------------------------------------------------------------------------------------------------------


def test_copies_are_equal() -> None:
    tokenizer = made(special_tokens=SPECIAL, max_len=9)
    for again in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert again("_start_ hello") == tokenizer("_start_ hello")
        assert (again.max_len, again.special_tokens) == (9, tuple(SPECIAL))


def test_a_spawned_process_unpickles_one(tokenizer: OpenAIGPTTokenizer) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(tokenizer.tokenize, ("Hello",)) == ["hello</w>"]
