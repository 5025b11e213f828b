"""BERT's tokenizer on a vocabulary of our own."""

import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.bert.tokenization import BasicTokenizer, BertTokenizer, WordpieceTokenizer, load_vocab
from registry.errors import (
    ConfigError,
    MissingTokenizerError,
    SaveError,
    UnknownOptionError,
    VocabError,
)
from registry.testing.tokenizers import lines_run

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "un", "##aff", "##able", "able", "the",
    "cat", "sat", "on", "mat", "Paris", "##s", "##ed", ".", ",", "!", "?", "'", "[", "]", "mask", "中",
]  # fmt: skip
VOCAB = {word: number for number, word in enumerate(WORDS)}
TOKENIZER = BertTokenizer(VOCAB)


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return BertTokenizer(VOCAB, max_len=512)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return tmp_path


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """The part of a ``tokenizer.json`` that describes a BERT tokenizer; ``changes`` are parts to replace."""
    special = [{"id": VOCAB[token], "content": token, "normalized": False, "special": True} for token in WORDS[:5]]
    return {
        "version": "1.0",
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": VOCAB},
        **changes,
    }


# --- Text to ids ------------------------------------------------------------------------------------------------------


def test_words_fall_into_the_longest_pieces(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("The cats unaffable!") == ["the", "cat", "##s", "un", "##aff", "##able", "!"]
    assert tokenizer.encode("The cats") == [2, VOCAB["the"], VOCAB["cat"], VOCAB["##s"], 3]


def test_a_word_without_pieces_is_unknown_as_a_whole(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("unaffx cat zz") == ["[UNK]", "cat", "[UNK]"]
    assert tokenizer("unaffx", return_offsets_mapping=True)["offset_mapping"] == [(0, 0), (0, 6), (0, 0)]


@pytest.mark.parametrize("length", [100, 101])
def test_words_over_a_hundred_characters_are_unknown(tokenizer: BertTokenizer, length: int) -> None:
    word = "cat" + "s" * (length - 3)
    assert tokenizer.tokenize(word) == (["cat"] + ["##s"] * 97 if length == 100 else ["[UNK]"])


def test_a_pair_has_two_types(tokenizer: BertTokenizer) -> None:
    assert tokenizer("the cat", "sat") == {
        "input_ids": [2, VOCAB["the"], VOCAB["cat"], 3, VOCAB["sat"], 3],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
        "attention_mask": [1, 1, 1, 1, 1, 1],
    }
    assert tokenizer([("the cat", "sat")])["token_type_ids"] == [[0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("[MASK].", ["[MASK]", "."]),
        (" [MASK] ", ["[MASK]"]),
        ("un[MASK]able", ["un", "[MASK]", "able"]),
        ("[mask]", ["[", "mask", "]"]),
        ("[MA\u200bSK]", ["[", "mask", "]"]),
        ("[MA\x0bSK]", ["[", "mask", "]"]),
        ("[CLS][SEP]", ["[CLS]", "[SEP]"]),
    ],
)
def test_special_tokens_are_found_wherever_they_stand(tokenizer: BertTokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


def test_special_tokens_can_be_taken_for_text() -> None:
    tokenizer = BertTokenizer(VOCAB, split_special_tokens=True)
    assert tokenizer.tokenize("[MASK] a") == ["[", "mask", "]", "a"]
    assert tokenizer.tokenize("[MASK] a", split_special_tokens=False) == ["[MASK]", "a"]
    assert tokenizer.encode("a") == [2, VOCAB["a"], 3]


def test_case_can_be_kept() -> None:
    assert BertTokenizer(VOCAB, do_lower_case=False).tokenize("Paris The the") == ["Paris", "[UNK]", "the"]


def test_words_can_be_exempted_from_splitting() -> None:
    vocab = {**VOCAB, "a.b": len(VOCAB)}
    assert BertTokenizer(vocab, never_split=["a.b"]).tokenize("a.b a.b,") == ["a.b", "a", ".", "b", ","]


def test_basic_tokenization_can_be_left_out() -> None:
    tokenizer = BertTokenizer(VOCAB, do_basic_tokenize=False)
    assert tokenizer.tokenize("Paris the\tcat. cats") == ["Paris", "the", "[UNK]", "cat", "##s"]
    assert tokenizer("a cats", return_offsets_mapping=True)["offset_mapping"] == [
        (0, 0),
        (0, 1),
        (2, 5),
        (5, 6),
        (0, 0),
    ]


def test_offsets_are_those_of_the_text_that_was_given(tokenizer: BertTokenizer) -> None:
    text = " Un\u200bÀffable\u0301, 中[MASK]"
    batch = tokenizer(text, return_offsets_mapping=True)
    tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"])[1:-1]
    places = [text[start:stop] for start, stop in batch["offset_mapping"][1:-1]]
    assert dict(zip(tokens, places, strict=True)) == {
        "un": "Un", "##aff": "Àff", "##able": "able", ",": ",", "中": "中", "[MASK]": "[MASK]",
    }  # fmt: skip


@given(st.text() | st.text("[MASK] cat's\x0b\x1c\u0301中.ABc"))
def test_lists_tensors_and_offsets_have_the_same_ids_and_offsets_in_order(text: str) -> None:
    batch = TOKENIZER(text, return_offsets_mapping=True)
    assert batch["input_ids"] == TOKENIZER.encode(text)
    assert [batch["input_ids"]] == TOKENIZER(text, return_tensors="np")["input_ids"].tolist()
    assert all(0 <= start < stop <= len(text) for start, stop in batch["offset_mapping"][1:-1])
    starts = [start for start, _ in batch["offset_mapping"][1:-1]]
    assert starts == sorted(starts)


# --- Tokens to text ---------------------------------------------------------------------------------------------------


def test_pieces_are_joined_to_words_again(tokenizer: BertTokenizer) -> None:
    ids = tokenizer.encode("the cats, unaffable!")
    assert tokenizer.decode(ids) == "[CLS] the cats, unaffable! [SEP]"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the cats, unaffable!"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode(VOCAB["##s"]) == "##s"


# --- Classes of pytorch-pretrained-bert -------------------------------------------------------------------------------


def test_the_classes_of_pytorch_pretrained_bert_work_on_their_own(folder: Path) -> None:
    assert BasicTokenizer(do_lower_case=True, never_split=("X",)).tokenize("X y!") == ["X", "y", "!"]
    vocab = load_vocab(folder / "vocab.txt")
    assert vocab == VOCAB
    pieces = WordpieceTokenizer(vocab, unk_token="[UNK]", max_input_chars_per_word=5)
    assert pieces.tokenize("cats unaffable zz") == ["cat", "##s", "[UNK]", "[UNK]"]


def test_the_documented_way_of_making_one(folder: Path) -> None:
    tokenizer = BertTokenizer(folder / "vocab.txt", do_lower_case=True)
    tokens = tokenizer.tokenize("The cat sat")
    assert tokenizer.convert_tokens_to_ids(tokens) == [VOCAB[token] for token in ("the", "cat", "sat")]
    assert tokenizer.vocab["cat"] == tokenizer.ids_to_tokens.index("cat")


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_vocabulary_without_unk_is_refused() -> None:
    with pytest.raises(VocabError, match=r"has the unk_token '\[UNK\]', which its vocabulary lacks"):
        BertTokenizer({"a": 0})
    assert BertTokenizer({"<unk>": 0}, unk_token="<unk>").tokenize("x") == ["<unk>"]


def test_other_special_tokens_are_missed_when_they_are_needed() -> None:
    tokenizer = BertTokenizer({"[UNK]": 0, "a": 1})
    assert tokenizer.encode("a b", add_special_tokens=False) == [1, 0]
    with pytest.raises(VocabError, match=r"cls_token '\[CLS\]'"):
        tokenizer("a")


@pytest.mark.parametrize(
    "text",
    [
        "\ud800",
        "a\udfffb \ud83d",
        "\0",
        "\0[MASK]\0",
        "\x0b\x0c\x1c\x1f\x85",
        "\u0301",
        "##",
        "[",
        "\U0010ffff",
        "\ufffe",
    ],
)
def test_no_string_raises(tokenizer: BertTokenizer, text: str) -> None:
    assert tokenizer(text)["input_ids"] == tokenizer(text, return_offsets_mapping=True)["input_ids"]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: "cat" * (size // 3),
        lambda size: "a," * (size // 2),
        lambda size: "中" * size,
        lambda size: "a" + "\u0301\u0323" * (size // 2),
        lambda size: "a" + "\u302e\U00016ff0" * (size // 2),
        lambda size: "[MASK" * (size // 5),
        lambda size: "[MASK]" * (size // 6),
        lambda size: "\0" * size,
        lambda size: " " * size,
    ],
    ids=["x", "cat", "punctuation", "ideographs", "accents", "marks", "almost special", "special", "NUL", "spaces"],
)
def test_work_is_linear_in_the_text(make: Callable[[int], str]) -> None:
    def work(size: int) -> int:
        text, tokenizer = make(size), BertTokenizer(VOCAB)
        return lines_run(lambda: (tokenizer(text), tokenizer(text, return_offsets_mapping=True)))

    assert work(20_000) < 11 * work(2_000) + 1000


@pytest.mark.slow
def test_a_word_of_megabytes_is_one_unknown_token(tokenizer: BertTokenizer) -> None:
    assert tokenizer.tokenize("x" * 3_000_000) == ["[UNK]"]
    assert tokenizer("é" * 3_000_000, return_offsets_mapping=True)["offset_mapping"][1] == (0, 3_000_000)


def test_an_option_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(
        UnknownOptionError, match=r"BertTokenizer has no option 'do_lowercase'. Did you mean 'do_lower_case'"
    ):
        BertTokenizer.from_pretrained(folder, do_lowercase=True)
    with pytest.raises(ConfigError, match="do_lower_case must be true or false, not 'no'"):
        BertTokenizer(VOCAB, do_lower_case="no")


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_options_travel_with_a_saved_folder(tmp_path: Path) -> None:
    made = BertTokenizer(
        VOCAB, do_lower_case=False, max_len=77, strip_accents=True, never_split=["a.b"], mask_token="the",
        added_tokens={"[X]": len(VOCAB)}, additional_special_tokens=["cat"],
    )  # fmt: skip
    made.save_pretrained(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["tokenizer_config.json", "vocab.txt"]
    again = BertTokenizer.from_pretrained(tmp_path / "new")
    assert {name: getattr(again, name) for name in made.options} == {name: getattr(made, name) for name in made.options}
    assert again.get_vocab() == made.get_vocab()
    assert BertTokenizer.from_pretrained(tmp_path / "new", do_lower_case=True, max_len=5).do_lower_case is True


def test_a_vocabulary_file_is_a_path_too(folder: Path) -> None:
    (folder / "vocab.txt").rename(folder / "words")
    tokenizer = BertTokenizer.from_pretrained(str(folder / "words"), do_lower_case=False)
    assert tokenizer.tokenize("Paris") == ["Paris"]


def test_a_folder_without_a_vocabulary_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingTokenizerError, match=r"needs vocab\.txt or tokenizer\.json, .*\(config\.json\)"):
        BertTokenizer.from_pretrained(tmp_path)


def test_a_folder_with_only_tokenizer_json_is_read(tmp_path: Path) -> None:
    normalizer = {"type": "BertNormalizer", "lowercase": False, "strip_accents": True, "handle_chinese_chars": False}
    added = [{"id": 4, "content": "[MASK]", "special": True}, {"id": len(VOCAB), "content": "[X]", "normalized": False}]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(normalizer=normalizer, added_tokens=added)))
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars) == (False, True, False)
    assert tokenizer.tokenize("Páris[X] [MASK].") == ["Paris", "[X]", "[MASK]", "."]
    assert BertTokenizer.from_pretrained(tmp_path / "tokenizer.json", do_lower_case=True).tokenize("Cat") == ["cat"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": {"type": "BPE", "vocab": {}}}, "model.type is 'BPE'"),
        ({"model": None}, "model is None"),
        (
            {"model": {"type": "WordPiece", "vocab": VOCAB, "max_input_chars_per_word": 50}},
            "max_input_chars_per_word is 50",
        ),
        ({"model": {"type": "WordPiece", "vocab": VOCAB, "continuing_subword_prefix": "@"}}, "prefix is '@'"),
        ({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 2}}}, "no token has the id 1"),
        ({"model": {"type": "WordPiece", "vocab": ["[UNK]"]}}, "model.vocab"),
        ({"model": {"type": "WordPiece"}}, "model.vocab"),
        ({"normalizer": {"type": "Sequence"}}, "normalizer.type is 'Sequence'"),
        ({"normalizer": {"type": "BertNormalizer", "clean_text": False}}, "clean_text is False"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is 'Whitespace'"),
        ({"added_tokens": [{"id": 3, "content": "[MASK]"}]}, r"'\[MASK\]' is added with the id 3, but has 4"),
        ({"added_tokens": "x"}, "added_tokens"),
        ({"post_processor": None}, "post_processor"),
        ({"post_processor": {"type": "RobertaProcessing", "cls": ["a", 5], "sep": ["b", 6]}}, "post_processor"),
        (
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [],
                    "pair": [],
                    "special_tokens": {"a": 1, "b": 2},
                }
            },
            "post_processor",
        ),
    ],
)
def test_a_tokenizer_json_that_is_not_berts_is_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(**changes)))
    with pytest.raises(VocabError, match=fault):
        BertTokenizer.from_pretrained(tmp_path)


def test_duplicate_keys_in_tokenizer_json_are_refused(tmp_path: Path) -> None:
    text = json.dumps(tokenizer_json()).replace('"a": 5', '"a": 5, "a": 6')
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(VocabError, match="the key 'a' occurs twice"):
        BertTokenizer.from_pretrained(tmp_path)


def test_a_vocabulary_stands_before_tokenizer_json(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(model={"type": "BPE"})))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 9}')
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert (tokenizer.do_lower_case, tokenizer.max_len) == (False, 9)


# --- Saving -----------------------------------------------------------------------------------------------------------


def test_save_vocabulary_takes_folders_and_files(tmp_path: Path, tokenizer: BertTokenizer) -> None:
    (tmp_path / "folder").mkdir()
    assert tokenizer.save_vocabulary(tmp_path / "folder") == str(tmp_path / "folder" / "vocab.txt")
    assert tokenizer.save_vocabulary(f"{tmp_path}/new/") == str(tmp_path / "new" / "vocab.txt")
    assert tokenizer.save_vocabulary(tmp_path / "words") == str(tmp_path / "words")
    for path in ("folder/vocab.txt", "new/vocab.txt", "words"):
        assert load_vocab(tmp_path / path) == VOCAB


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=4), unique=True, max_size=8))
@settings(max_examples=50, deadline=None)
def test_what_is_saved_is_read_again_or_refused(tmp_path_factory: pytest.TempPathFactory, tokens: list[str]) -> None:
    folder = tmp_path_factory.mktemp("saved")
    words = list(dict.fromkeys(["[UNK]", *tokens]))
    tokenizer = BertTokenizer({word: number for number, word in enumerate(words)})
    try:
        tokenizer.save_vocabulary(folder)
    except VocabError:
        assert any(word != word.strip(" \t") or set(word) & set("\n\r\0") for word in words)
    else:
        assert list(load_vocab(folder / "vocab.txt")) == words


def test_a_failed_save_leaves_the_old_file(
    folder: Path, tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = (folder / "vocab.txt").read_bytes()
    with pytest.raises(SaveError, match="No space left"):
        tokenizer.save_vocabulary(folder)
    assert (folder / "vocab.txt").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["vocab.txt"]


# --- Processes and threads --------------------------------------------------------------------------------------------


def test_copies_are_equal_and_carry_no_cache(tokenizer: BertTokenizer) -> None:
    size = len(pickle.dumps(tokenizer))
    tokenizer([f"w{number}" for number in range(5000)])
    assert len(pickle.dumps(tokenizer)) == size
    for made in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert made("The cats", "sat") == tokenizer("The cats", "sat")
        assert made.max_len == 512


def test_a_spawned_process_unpickles_one(tokenizer: BertTokenizer) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(tokenizer.tokenize, ("the cats",)) == ["the", "cat", "##s"]


def test_one_unpickles_where_an_application_hides_plugins(tmp_path: Path, tokenizer: BertTokenizer) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("mine = True\n")
    (tmp_path / "tokenizer.pickle").write_bytes(pickle.dumps(tokenizer))
    code = (
        "import pickle, plugins; assert plugins.mine;"
        "print(pickle.load(open('tokenizer.pickle', 'rb')).tokenize('cats'))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "['cat', '##s']", run.stderr


def test_threads_may_share_one(tokenizer: BertTokenizer) -> None:
    texts = [f"the cats {number % 50} sat, un{chr(97 + number % 26)}" for number in range(2000)]
    alone = BertTokenizer(VOCAB)(texts)
    with ThreadPoolExecutor(8) as pool:
        assert all(batch == alone for batch in pool.map(lambda _: tokenizer(texts), range(8)))


def test_making_one_imports_neither_torch_nor_regex(folder: Path) -> None:
    code = (
        "import sys; from plugins.bert.tokenization import BertTokenizer; t = BertTokenizer('vocab.txt'); t('a b');"
        "print(sorted({'torch', 'regex', 'numpy', 'requests', 'pluggy', 'attrs'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr
