"""GPT-2's tokenizer on a vocabulary of our own."""

import copy
import json
import multiprocessing
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpt2.tokenization import PATTERN, GPT2Tokenizer, basic_pattern, chunks, exact_pattern, pretokenize
from registry.errors import ConfigError, MissingTokenizerError, RegistryWarning, UnknownOptionError, VocabError
from registry.testing.tokenizers import lines_run
from registry.tokenization.byte_level import CHARACTERS, SEPARATOR, bytes_to_unicode

END = "<|endoftext|>"
RULES = [
    ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("Ġw", "o"), ("r", "l"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"),
    ("Ċ", "Ċ"), ("Ã", "©"), ("1", "2"), ("'", "s"), ("a", "b"), ("ä", "¸"), ("Ń", "æ"), ("ĸ", "ĩ"), ("Ġ", "å"),
]  # fmt: skip
TOKENS = [*bytes_to_unicode().values(), *("".join(rule) for rule in RULES), END]
VOCAB = {token: number for number, token in enumerate(TOKENS)}
TOKENIZER = GPT2Tokenizer(VOCAB, RULES)
WIDE = "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space outside ASCII."""


@pytest.fixture
def tokenizer() -> GPT2Tokenizer:
    return GPT2Tokenizer(VOCAB, RULES, max_len=1024)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_text(json.dumps(VOCAB))
    rules = "".join(f"{first} {second}\n" for first, second in RULES)
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{rules}", encoding="utf-8")
    return tmp_path


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    """A ``tokenizer.json`` that describes a GPT-2 tokenizer; ``changes`` are parts to replace."""
    return {
        "version": "1.0",
        "added_tokens": [{"id": VOCAB[END], "content": END, "normalized": True, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
        "model": {"type": "BPE", "end_of_word_suffix": "", "vocab": VOCAB, "merges": [list(rule) for rule in RULES]},
        **changes,
    }


# --- Text to ids ------------------------------------------------------------------------------------------------------


def test_words_are_bytes_that_rules_merge(tokenizer: GPT2Tokenizer) -> None:
    assert tokenizer.tokenize("hello world") == ["hello", "Ġwo", "rl", "d"]
    assert tokenizer.encode("hello") == [VOCAB["hello"]]
    assert tokenizer("hello world")["attention_mask"] == [1, 1, 1, 1]


def test_words_are_separated_bytes() -> None:
    assert pretokenize("Größe 12 中文、ελ😀's x²").split(SEPARATOR) == [
        word.encode() for word in ("Größe", " 12", " 中文", "、", "ελ", "😀'", "s", " x", "²")
    ]
    assert pretokenize("") == b""


@pytest.mark.parametrize("around", ["{0}", "a{0}1 {0}{0}\n{0}b", "{0}'s²{0}2", " {0} \u3000{0}  "])
def test_both_patterns_find_the_same_words(around: str) -> None:
    plane = (*range(0xD800), *range(0xE000, 0x10000))
    for number in (*plane, *range(0x1F600, 0x1F650), *range(0x20000, 0x20010), 0x1D7CE):
        text = around.format(chr(number))
        words = [word.decode() for word in pretokenize(text).split(SEPARATOR)]
        assert words == exact_pattern().findall(text), hex(number)


def test_characters_outside_the_tables_are_skipped() -> None:
    assert basic_pattern().findall("Größe 12 中文、ελ") == ["Größe", " 12", " 中文", "、", "ελ"]
    assert basic_pattern().findall("a😀b") == ["a", "b"]


def chunks_of(text: str) -> list[bytes]:
    """The chunks that are not empty."""
    return [chunk for chunk in chunks(text) if chunk]


@pytest.mark.parametrize("space", WIDE)
def test_a_text_is_cut_before_white_space_but_not_inside(space: str) -> None:
    for white in (space, f"{space}  ", f"{space}{space}\t"):
        assert chunks_of(f"a{white}b c") == [f"a{white}b".encode(), b" c"]
        assert chunks_of(f"a {white}") == [b"a", f" {white}".encode()]
    assert chunks_of("a  b\n\nc ") == [b"a", b"  b", b"\n\nc", b" "]


@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize(
    "around",
    [
        "a{0}  b",
        "a{0} b",
        "a{0}\n{0} \n b",
        "{0} {0}a",
        " {0}",
        "a  {0}  ",
        "a{0}",
        "{0}{0}  x\xa0 y",
        "a{0}  \xa0  b{0}",
    ],
)
def test_white_space_of_any_width_is_cut_as_in_one_go(wide: str, around: str) -> None:
    """Rules that merge across it show where it was cut."""
    text, (*_, last) = around.format(wide), map(CHARACTERS.get, wide.encode())
    rules = [(last, "Ġ"), (last, "Ċ"), ("Ġ", "Â")]
    vocab = {token: number for number, token in enumerate([*CHARACTERS.values(), *map("".join, rules)])}
    tokenizer = GPT2Tokenizer({**vocab, END: len(vocab)}, rules)
    expected = [
        number
        for word in regex.findall(PATTERN, text)
        for number in tokenizer.byte_pairs.merge([vocab[CHARACTERS[byte]] for byte in word.encode()])
    ]
    assert tokenizer.encode(text) == expected
    assert tokenizer(text, return_offsets_mapping=True)["input_ids"] == expected
    assert tokenizer(text, return_tensors="np")["input_ids"].tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" ", ["Ġ"]),
        ("a b", ["a", "Ġ", "b"]),
        ("a  b", ["a", "Ġ", "Ġ", "b"]),
        ("a   b", ["a", "ĠĠ", "Ġ", "b"]),
        ("a     b", ["a", "ĠĠĠĠ", "Ġ", "b"]),
        ("a  ", ["a", "ĠĠ"]),
        ("a\nb", ["a", "Ċ", "b"]),
        ("a\n\nb", ["a", "Ċ", "Ċ", "b"]),
        ("a\n\n\nb", ["a", "ĊĊ", "Ċ", "b"]),
        ("a \n b", ["a", "Ġ", "Ċ", "Ġ", "b"]),
        ("\n    b", ["Ċ", "ĠĠ", "Ġ", "Ġ", "b"]),
        ("it's12", ["i", "t", "'s", "12"]),
        ("é", ["Ã©"]),
        (" 中 字", ["Ġ", "ä¸", "Ń", "Ġå", "Ń", "Ĺ"]),
        ("!\x1c\x1c  b", ["!", "Ĝ", "Ĝ", "Ġ", "Ġ", "b"]),
        ("\0 \0", ["Ā", "Ġ", "Ā"]),
        ("\xa0\xa0\xa0x", ["Â", "ł", "Â", "ł", "Â", "ł", "x"]),
    ],
)
def test_text_is_cut_into_words_as_the_release_cuts_it(tokenizer: GPT2Tokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer(text, return_offsets_mapping=True)["input_ids"] == [VOCAB[token] for token in tokens]


def test_a_word_is_cut_only_where_no_rule_merges(tokenizer: GPT2Tokenizer) -> None:
    assert tokenizer.tokenize("中文字") == ["ä¸", "Ńæ", "ĸĩ", "å", "Ń", "Ĺ"]


def test_offsets_are_those_of_characters_which_a_token_touches(tokenizer: GPT2Tokenizer) -> None:
    assert tokenizer("hello wé中文", return_offsets_mapping=True)["offset_mapping"] == [
        (0, 5), (5, 7), (7, 8), (8, 9), (8, 10), (9, 10),
    ]  # fmt: skip


ANY = st.text(st.characters(exclude_categories=("Cs",)))
ODD = st.text(f"{END} hel\n\0\x1c\x85\xa0'sé中文\u3000", max_size=60)


@given(ANY | ODD)
def test_every_string_is_given_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.text() | ODD)
def test_lists_tensors_and_offsets_have_the_same_ids_and_offsets_without_gaps(text: str) -> None:
    batch = TOKENIZER(text, return_offsets_mapping=True)
    assert batch["input_ids"] == TOKENIZER.encode(text)
    assert [batch["input_ids"]] == TOKENIZER(text, return_tensors="np")["input_ids"].tolist()
    places = [place for span in batch["offset_mapping"] for place in range(*span)]
    assert places == sorted(places)
    assert set(places) == set(range(len(text)))


@pytest.mark.parametrize("text", ["\ud800", "a\udfff b", "\ude00\ud83d", " \ud800\n\udc00  x"])
def test_lone_surrogates_become_replacement_characters(tokenizer: GPT2Tokenizer, text: str) -> None:
    batch = tokenizer(text, return_offsets_mapping=True)
    assert batch["input_ids"] == tokenizer.encode(text)
    assert batch["offset_mapping"][-1][1] == len(text)
    expected = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert tokenizer.decode(batch["input_ids"]) == expected


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (f"a{END}b", ["a", END, "b"]),
        (f"{END}{END}", [END, END]),
        (f" {END} ", ["Ġ", END, "Ġ"]),
        ("<|endoftext|", list("<|endoftext|")),
    ],
)
def test_special_tokens_are_found_wherever_they_stand(tokenizer: GPT2Tokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.tokenize(END, split_special_tokens=True) == list(END)


def test_a_space_can_be_put_before_texts() -> None:
    tokenizer = GPT2Tokenizer(VOCAB, RULES, add_prefix_space=True)
    assert tokenizer.tokenize(f"world{END}world") == ["Ġwo", "rl", "d", END, "Ġwo", "rl", "d"]
    assert tokenizer.tokenize(" a") == ["Ġ", "a"]
    assert tokenizer.tokenize("") == []
    assert tokenizer("world", return_offsets_mapping=True)["offset_mapping"] == [(0, 2), (2, 4), (4, 5)]


def test_special_tokens_can_be_put_around_texts() -> None:
    assert TOKENIZER.encode("a", "b") == [VOCAB["a"], VOCAB["b"]]
    both = GPT2Tokenizer(VOCAB, RULES, add_bos_token=True, add_eos_token=True, bos_token="a")
    assert both.encode("b") == [VOCAB["a"], VOCAB["b"], VOCAB[END]]
    assert both.encode("b", "b") == [VOCAB[token] for token in ("a", "b", END, "a", "b", END)]
    assert both.encode("b", add_special_tokens=False) == [VOCAB["b"]]


def test_the_three_named_special_tokens_are_one(tokenizer: GPT2Tokenizer) -> None:
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.unk_token_id == VOCAB[END]
    assert tokenizer.pad_token_id is None
    assert tokenizer.all_special_tokens == [END]


# --- Tokens to text ---------------------------------------------------------------------------------------------------


def test_bytes_that_are_no_utf8_are_decoded_as_told() -> None:
    part = [VOCAB["Ã"], VOCAB["a"]]
    assert TOKENIZER.decode(part) == "\ufffda"
    assert GPT2Tokenizer(VOCAB, RULES, errors="ignore").decode(part) == "a"
    with pytest.raises(UnicodeDecodeError):
        GPT2Tokenizer(VOCAB, RULES, errors="strict").decode(part)
    for wrong in ("repalce", "\ud800", "a\0b"):
        with pytest.raises(ConfigError, match="errors must be the name of an error handler"):
            GPT2Tokenizer(VOCAB, RULES, errors=wrong)


def test_special_tokens_can_be_left_out_of_a_text(tokenizer: GPT2Tokenizer) -> None:
    ids = tokenizer.encode(f"hello{END}")
    assert tokenizer.decode(ids) == f"hello{END}"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello"


# --- Special tokens of one's own --------------------------------------------------------------------------------------


def test_special_tokens_follow_the_vocabulary_in_their_order() -> None:
    tokenizer = GPT2Tokenizer(VOCAB, RULES, special_tokens=["<é>", "_start_", END])
    size = len(VOCAB)
    assert tokenizer.convert_tokens_to_ids(["<é>", "_start_", END]) == [size, size + 1, VOCAB[END]]
    assert (len(tokenizer), tokenizer.vocab_size) == (size + 2, size)
    assert tokenizer.tokenize("_start_hello<é>") == ["_start_", "hello", "<é>"]
    assert tokenizer.decode(tokenizer.encode("_start_hello<é>")) == "_start_hello<é>"
    assert tokenizer.decode(tokenizer.encode("_start_hello"), skip_special_tokens=True) == "hello"


def test_special_tokens_can_be_replaced(tokenizer: GPT2Tokenizer) -> None:
    tokenizer.set_special_tokens(["<a>", "<b>"])
    tokenizer.set_special_tokens(["<b>"])
    assert tokenizer.tokenize("<b><a>") == ["<b>", "<", "a", ">"]
    assert tokenizer.convert_tokens_to_ids("<b>") == len(VOCAB)
    assert tokenizer.max_len == 1024
    with pytest.raises(ConfigError):
        tokenizer.set_special_tokens(["<c>", "<c>"])
    tokenizer.set_special_tokens([])
    assert tokenizer.get_vocab() == VOCAB


@pytest.mark.parametrize("tokens", [["a", "a"], [""], "ab", [5], {"a"}])
def test_special_tokens_that_are_no_list_of_tokens_are_refused(tokens: Any) -> None:
    with pytest.raises(ConfigError, match="special_tokens must be a list of tokens, each of them once"):
        GPT2Tokenizer(VOCAB, RULES, special_tokens=tokens)


def test_special_tokens_and_added_ones_must_agree() -> None:
    size = len(VOCAB)
    added = {"<a>": size, "<b>": size + 1}
    assert GPT2Tokenizer(VOCAB, RULES, special_tokens=["<b>", "<c>"], added_tokens=added).vocab["<c>"] == size + 2
    with pytest.raises(VocabError, match="special_tokens are not in the order of the ids"):
        GPT2Tokenizer(VOCAB, RULES, special_tokens=["<b>", "<a>"], added_tokens=added)
    with pytest.raises(VocabError, match="'a' is added with the id"):
        GPT2Tokenizer(VOCAB, RULES, added_tokens={"a": size})


def test_a_damaged_file_of_special_tokens_is_refused(folder: Path) -> None:
    (folder / "special_tokens.txt").write_text("<a>\n<b>\n<a>\n")
    with pytest.raises(VocabError, match=r"special_tokens\.txt is damaged: the token '<a>' stands in line 1 and again"):
        GPT2Tokenizer.from_pretrained(folder)


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocab", "fault"),
    [
        ({**VOCAB, "x1": 1000}, "no token has the id"),
        ({**VOCAB, "x1": -1}, "'x1' has the id -1"),
        ({**VOCAB, "x1": 1.5}, "not 'x1' to 1.5"),
        ({**VOCAB, "x1": 3}, "share the id 3"),
        ({**VOCAB, "x1": True}, "not 'x1' to True"),
        ({}, "it is empty"),
    ],
)
def test_a_vocabulary_with_impossible_ids_is_refused(folder: Path, vocab: dict[str, Any], fault: str) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocab))
    with pytest.raises(VocabError, match=fault):
        GPT2Tokenizer(folder / "vocab.json")


def test_rules_without_header_and_last_newline_are_read_whole(folder: Path) -> None:
    rules = (folder / "merges.txt").read_text(encoding="utf-8").removeprefix("#version: 0.2\n").removesuffix("\n")
    (folder / "merges.txt").write_text(rules, encoding="utf-8")
    tokenizer = GPT2Tokenizer(folder / "vocab.json")
    assert tokenizer.tokenize("he") == ["he"]
    assert tokenizer.tokenize(" 字") == ["Ġå", "Ń", "Ĺ"]


def test_a_rule_that_the_vocabulary_lacks_is_refused_with_its_line(folder: Path) -> None:
    with (folder / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("hello Ġwo\n")
    with pytest.raises(VocabError, match=rf"merges\.txt, line {len(RULES) + 2}: the rule 'hello Ġwo' needs"):
        GPT2Tokenizer(folder / "vocab.json")


def test_a_byte_that_the_vocabulary_lacks_is_unknown_and_never_the_first_token() -> None:
    vocab = {token: number for number, token in enumerate(["!", "a", "b", "ab", END])}
    tokenizer = GPT2Tokenizer(vocab, [("a", "b")])
    assert tokenizer.encode("abcé") == [3, 4, 4, 4]
    assert tokenizer("ac", return_offsets_mapping=True)["offset_mapping"] == [(0, 1), (1, 2)]
    assert tokenizer.convert_tokens_to_ids("zz") == 4
    added = GPT2Tokenizer({"a": 0, "b": 1, "ab": 2}, [("a", "b")], special_tokens=["<x>", END])
    assert added.encode("abcé") == [2, 4, 4, 4]
    assert added.encode("ab" * 60 + "c") == [2] * 60 + [4]
    with pytest.raises(VocabError, match="unk_token"):
        GPT2Tokenizer({"!": 0, "a": 1}, []).encode("b")


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: "hello" * (size // 5),
        lambda size: "a1" * (size // 2),
        lambda size: "中" * size,
        lambda size: "éà" * (size // 2),
        lambda size: "a" + "\u0301\u0323" * (size // 2),
        lambda size: "<|endoftext" * (size // 11),
        lambda size: END * (size // 13),
        lambda size: "\0" * size,
        lambda size: " " * size,
        lambda size: " \n" * (size // 2),
        lambda size: " \0" * (size // 2),
        lambda size: "\xa0x  " * (size // 4),
        lambda size: "\ud800" * size,
    ],
    ids=["x", "hello", "digits", "ideographs", "accents", "marks", "almost special", "special", "NUL", "spaces",
         "lines", "NULs", "runs", "surrogates"],
)  # fmt: skip
def test_work_is_linear_in_the_text(make: Callable[[int], str]) -> None:
    def work(size: int) -> int:
        text, tokenizer = make(size), GPT2Tokenizer(VOCAB, RULES)
        return lines_run(lambda: (tokenizer(text), tokenizer(text, return_offsets_mapping=True)))

    assert work(20_000) < 11 * work(2_000) + 1000


@pytest.mark.slow
@pytest.mark.parametrize(("letters", "megabytes"), [("h", 1), ("hello", 1), ("é", 1)])
def test_a_word_of_megabytes_is_tokenized(tokenizer: GPT2Tokenizer, letters: str, megabytes: int) -> None:
    rng = random.Random(0)
    text = "".join(rng.choices(letters, k=megabytes * 1_000_000 // len(letters[0].encode())))
    with pytest.warns(RegistryWarning, match="the model takes at most 1,024"):
        ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text


def test_an_option_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownOptionError, match=r"GPT2Tokenizer has no option 'add_prefix'"):
        GPT2Tokenizer.from_pretrained(folder, add_prefix=True)


# --- Folders ----------------------------------------------------------------------------------------------------------


def test_the_files_beside_a_vocabulary_are_found(folder: Path) -> None:
    (folder / "special_tokens.txt").write_text("<a>\n<b>")
    tokenizer = GPT2Tokenizer(folder / "vocab.json")
    assert tokenizer.tokenize("hello<a>") == ["hello", "<a>"]
    assert tokenizer.special_tokens == ("<a>", "<b>")
    assert GPT2Tokenizer(folder / "vocab.json", folder / "merges.txt").special_tokens == ()
    assert GPT2Tokenizer(folder / "vocab.json", special_tokens=["<c>"]).special_tokens == ("<c>",)
    assert GPT2Tokenizer.from_pretrained(folder / "vocab.json").special_tokens == ("<a>", "<b>")
    (folder / "special_tokens.txt").write_text("")
    assert GPT2Tokenizer.from_pretrained(folder).special_tokens == ()


def test_missing_rules_are_named(folder: Path) -> None:
    (folder / "merges.txt").unlink()
    with pytest.raises(MissingTokenizerError, match=r"are missing: .*merges\.txt does not exist"):
        GPT2Tokenizer(folder / "vocab.json")
    with pytest.raises(MissingTokenizerError, match=r"merges\.txt"):
        GPT2Tokenizer.from_pretrained(folder)
    with pytest.raises(MissingTokenizerError, match="comes without merge rules"):
        GPT2Tokenizer(VOCAB)
    (folder / "vocab.json").unlink()
    with pytest.raises(MissingTokenizerError, match=r"needs vocab\.json and merges\.txt, or tokenizer\.json"):
        GPT2Tokenizer.from_pretrained(folder)


def test_options_travel_with_a_saved_folder(tmp_path: Path) -> None:
    made = GPT2Tokenizer(
        VOCAB, RULES, "ignore", ["<a>"], 77, add_prefix_space=True, pad_token=END, add_bos_token=True,
        added_tokens={"<x>": len(VOCAB)},
    )  # fmt: skip
    made.save_pretrained(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "merges.txt", "special_tokens.txt", "tokenizer_config.json", "vocab.json",
    ]  # fmt: skip
    again = GPT2Tokenizer.from_pretrained(tmp_path / "new")
    assert {name: getattr(again, name) for name in made.options} == {name: getattr(made, name) for name in made.options}
    assert again.get_vocab() == made.get_vocab()
    assert again("hello<x>") == made("hello<x>")


def test_save_vocabulary_takes_folders_and_files(tmp_path: Path) -> None:
    tokenizer = GPT2Tokenizer(VOCAB, RULES, special_tokens=["<a>"])
    (tmp_path / "folder").mkdir()
    assert tokenizer.save_vocabulary(tmp_path / "folder") == str(tmp_path / "folder" / "vocab.json")
    assert tokenizer.save_vocabulary(f"{tmp_path}/new/") == str(tmp_path / "new" / "vocab.json")
    assert tokenizer.save_vocabulary(tmp_path / "own" / "words.bin") == str(tmp_path / "own" / "words.bin")
    for path in ("folder/vocab.json", "new/vocab.json", "own/words.bin"):
        assert GPT2Tokenizer(tmp_path / path).encode("hello<a> 中") == tokenizer.encode("hello<a> 中")


def test_rules_that_no_line_can_hold_are_not_saved(tmp_path: Path) -> None:
    vocab = {**VOCAB, "a b": len(VOCAB), "a bh": len(VOCAB) + 1}
    with pytest.raises(VocabError, match="This tokenizer, line 2: 'a b h' is not a rule of two symbols"):
        GPT2Tokenizer(vocab, [("a b", "h")]).save_vocabulary(tmp_path)


def test_a_folder_with_only_tokenizer_json_is_read(tmp_path: Path) -> None:
    added = [{"id": VOCAB[END], "content": END, "normalized": True}, {"id": len(VOCAB), "content": "<x>"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(added_tokens=added)))
    tokenizer = GPT2Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize(f"hello{END}<x>") == ["hello", END, "<x>"]
    model = {"vocab": VOCAB, "merges": [" ".join(rule) for rule in RULES], "end_of_word_suffix": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(model=model)))
    assert GPT2Tokenizer.from_pretrained(tmp_path / "tokenizer.json").tokenize("hello") == ["hello"]


def template(*parts: str) -> dict[str, Any]:
    """A post-processor that puts a text, ``A``, between tokens."""
    pieces = [{"Sequence": {"id": part}} if part in "AB" else {"SpecialToken": {"id": part}} for part in parts]
    return {"type": "TemplateProcessing", "single": pieces, "pair": [*pieces, *pieces]}


def test_tokens_around_texts_are_read_from_tokenizer_json(tmp_path: Path) -> None:
    for parts, ids in (
        ("A", ["h"]), ((END, "A"), [END, "h"]), (("A", END), ["h", END]), ((END, "A", "!"), [END, "h", "!"]),
    ):  # fmt: skip
        (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(post_processor=template(*parts))))
        assert GPT2Tokenizer.from_pretrained(tmp_path).encode("h") == [VOCAB[token] for token in ids]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "model.type is 'WordPiece'"),
        ({"model": {"vocab": VOCAB, "merges": [], "end_of_word_suffix": "</w>"}}, "end_of_word_suffix is '</w>'"),
        ({"model": {"vocab": VOCAB, "merges": [], "dropout": 0.1}}, "dropout is 0.1"),
        ({"model": {"vocab": VOCAB, "merges": [], "ignore_merges": True}}, "ignore_merges is True"),
        ({"model": {"vocab": VOCAB}}, "model.merges must be a list"),
        ({"model": {"vocab": VOCAB, "merges": ["a b c"]}}, "model.merges, number 1: .* is not a rule"),
        ({"model": {"vocab": VOCAB, "merges": ["a b", "a z"]}}, "model.merges, number 2: .* needs the token 'az'"),
        ({"normalizer": {"type": "NFC"}}, "normalizer is .*NFC.*, but must be none"),
        ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}}, "use_regex is False"),
        ({"pre_tokenizer": None}, "must be a ByteLevel"),
        ({"post_processor": template("A", END, END)}, "post_processor"),
        ({"post_processor": {"type": "RobertaProcessing"}}, "post_processor"),
    ],
)
def test_a_tokenizer_json_that_is_not_gpt2s_is_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(**changes)))
    with pytest.raises(VocabError, match=fault):
        GPT2Tokenizer.from_pretrained(tmp_path)


# --- Processes and threads --------------------------------------------------------------------------------------------


def test_copies_are_equal_and_carry_no_cache() -> None:
    tokenizer = GPT2Tokenizer(VOCAB, RULES, special_tokens=["<a>"], max_len=9)
    size = len(pickle.dumps(tokenizer))
    tokenizer.encode(" ".join(f"w{number}" for number in range(5000)), truncation=True)
    assert len(pickle.dumps(tokenizer)) == size
    for made in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert made("hello <a>中") == tokenizer("hello <a>中")
        assert (made.max_len, made.special_tokens) == (9, ("<a>",))


def test_a_spawned_process_unpickles_one(tokenizer: GPT2Tokenizer) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(tokenizer.tokenize, ("hello",)) == ["hello"]


def test_threads_share_one(tokenizer: GPT2Tokenizer) -> None:
    texts = [f"hello é{number % 50} 中文  {number}\n\n\nx" for number in range(2000)]
    expected = [TOKENIZER.encode(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tokenizer.encode, texts)) == expected


def test_names_of_pytorch_pretrained_bert_work(tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    assert len(tokenizer.encoder) == tokenizer.vocab_size
    assert tokenizer.decoder == {number: token for token, number in tokenizer.encoder.items()}
    assert list(tokenizer.bpe_ranks.values()) == list(range(len(tokenizer.bpe_ranks)))
    assert {tokenizer.byte_decoder[letter]: letter for letter in tokenizer.byte_decoder} == tokenizer.byte_encoder
    tokenizer.set_special_tokens(["<a>", "<b>"])
    assert tokenizer.special_tokens_decoder == {tokenizer.vocab["<a>"]: "<a>", tokenizer.vocab["<b>"]: "<b>"}
    assert "<a>" not in tokenizer.encoder
    path = tokenizer.save_vocabulary(vocab_path=tmp_path)
    again = GPT2Tokenizer.from_pretrained(pretrained_model_name_or_path=path)
    assert again.bpe_ranks == tokenizer.bpe_ranks
