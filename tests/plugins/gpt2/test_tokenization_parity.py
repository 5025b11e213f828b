"""GPT-2's tokenizer against tiktoken and transformers, with a small vocabulary and that of GPT-2."""

import json
import random
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex
import tiktoken
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, GPT2TokenizerFast

from plugins.gpt2.tokenization import GPT2Tokenizer, pretokenize
from registry.tokenization.byte_level import BYTES, SEPARATOR

pytestmark = pytest.mark.parity

END = "<|endoftext|>"
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
PIECES = [
    END, "<|endoftext", "don't", "DON'T", "it's", "'ll", "'", "Hello", " world", "12", "½", "Ⅷ", "naïve", "ÀÉ", "中国",
    "日本語", "가나다", "नमस्ते", "مرحبا", "👩‍👩‍👧", "e\u0301", "о", "привет", "...", "!?", "x" * 130, "éà" * 70,
    "=" * 120,
    " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\n    ", "\0", "\x0b", "\x0c", "\x1c", "\x1f", "\x85",
    "\xa0", "\xa0 ", "\u3000", "\u200b", "\u2028", "\ufffd",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocab(vocabularies: Path) -> Path:
    return vocabularies / "gpt2" / "vocab.json"


@pytest.fixture(scope="module")
def theirs(vocab: Path) -> Any:
    return fast_tokenizer(vocab)


@cache
def fast_tokenizer(vocab: Path, **options: bool) -> Any:
    return GPT2TokenizerFast(vocab=str(vocab), merges=str(vocab.with_name("merges.txt")), **options)


@cache
def our_tokenizer(vocab: Path, **options: bool) -> GPT2Tokenizer:
    return GPT2Tokenizer(vocab, **options)


@pytest.fixture(scope="module")
def encoding(vocab: Path) -> tiktoken.Encoding:
    """A tiktoken encoding with the same tokens and ids."""
    ids = json.loads(vocab.read_text(encoding="utf-8"))
    special = {END: ids.pop(END)}
    ranks = {bytes(map(BYTES.__getitem__, token)): number for token, number in ids.items()}
    return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["english", "multilingual"])
def test_ids_and_offsets_of_natural_text(
    vocabularies: Path, documents: Any, vocab: Path, theirs: Any, encoding: tiktoken.Encoding, name: str
) -> None:
    ours, texts = GPT2Tokenizer(vocab), documents(vocabularies / "text" / f"{name}.txt")
    expected = theirs(texts, return_offsets_mapping=True)
    assert dict(ours(texts, return_offsets_mapping=True)) == dict(expected)
    for _ in ("first pass", "after it"):
        assert ours(texts)["input_ids"] == expected["input_ids"]
    assert [encoding.encode(text, allowed_special="all") for text in texts] == expected["input_ids"]
    assert [ours.decode(row) for row in expected["input_ids"]] == texts


def test_ids_and_offsets_of_odd_text(odd: list[str], vocab: Path, theirs: Any) -> None:
    ours = GPT2Tokenizer(vocab)
    cut = theirs.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    keep = same_to_both(lambda text: [text[start:stop] for _, (start, stop) in cut(text)])
    texts = ["".join(filter(keep, text)) for text in odd]
    expected = theirs(texts, return_offsets_mapping=True)
    assert dict(ours(texts, return_offsets_mapping=True)) == dict(expected)
    assert ours(texts)["input_ids"] == expected["input_ids"]
    assert [ours.decode(row) for row in expected["input_ids"]] == texts


# --- Generated text ---------------------------------------------------------------------------------------------------


def same_to_both(cut: Callable[[str], list[str]]) -> Callable[[str], bool]:
    """Whether a character means the same to our tables of Unicode and to the reference's, which differ in age."""

    @cache
    def same(character: str) -> bool:
        text = f"a{character}1{character}!{character} "
        return cut(text) == [word.decode() for word in pretokenize(text).split(SEPARATOR)]

    return same


def same_to_tiktoken() -> Callable[[str], bool]:
    """The same for tiktoken, which skips what its pattern does not match."""
    singles = {bytes([byte]): byte for byte in range(256)}
    classes = {
        name: tiktoken.Encoding(name, pat_str=name, mergeable_ranks=singles, special_tokens={})
        for name in (r"\p{L}", r"\p{N}", r"\s")
    }

    @cache
    def same(character: str) -> bool:
        return all(
            bool(encoding.encode(character)) == bool(regex.match(name, character)) for name, encoding in classes.items()
        )

    return same


def generated(count: int, keep: Callable[[str], bool], seed: int) -> list[str]:
    """Texts of any characters: signs of ASCII, white space, marks, special tokens, all planes."""
    rng = random.Random(seed)
    marks = [chr(code) for code in range(0x20000) if unicodedata.category(chr(code)).startswith("M")]
    kinds: list[Callable[[], str]] = [
        lambda: chr(rng.randrange(0x20, 0x7F)),
        lambda: chr(rng.randrange(0x250)),
        lambda: rng.choice(PIECES),
        lambda: rng.choice(PIECES),
        lambda: rng.choice(marks),
        lambda: chr(rng.randrange(0x3000)),
        lambda: chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x10000)])),
        lambda: chr(rng.randrange(0x10000, 0x110000)),
    ]
    texts = []
    for _ in range(count):
        parts = (rng.choice(kinds)() for _ in range(rng.randrange(1, 40)))
        texts.append("".join(part for part in parts if len(part) > 1 or keep(part)))
    return texts


@pytest.mark.slow
def test_ids_and_offsets_of_generated_text_are_those_of_transformers(vocab: Path, theirs: Any, examples: int) -> None:
    ours = GPT2Tokenizer(vocab)
    cut = theirs.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    keep = same_to_both(lambda text: [text[start:stop] for _, (start, stop) in cut(text)])
    texts = generated(8 * examples, keep, seed=0)
    expected = theirs(texts, return_offsets_mapping=True)
    found = ours(texts, return_offsets_mapping=True)
    without_offsets = ours(texts)
    for row, text in enumerate(texts):
        assert found["input_ids"][row] == without_offsets["input_ids"][row] == expected["input_ids"][row], ascii(text)
        assert found["offset_mapping"][row] == expected["offset_mapping"][row], ascii(text)
        assert ours.decode(found["input_ids"][row]) == text


@pytest.mark.slow
def test_ids_of_generated_text_are_those_of_tiktoken(vocab: Path, encoding: tiktoken.Encoding, examples: int) -> None:
    ours = GPT2Tokenizer(vocab)
    texts = generated(8 * examples, same_to_tiktoken(), seed=1)
    differing = [text for text in texts if ours.encode(text) != encoding.encode(text, allowed_special="all")]
    assert differing == []


@pytest.mark.slow
def test_ids_are_those_of_the_byte_level_tokenizer(vocab: Path, theirs: Any, examples: int) -> None:
    ours = GPT2Tokenizer(vocab)
    reference = ByteLevelBPETokenizer(str(vocab), str(vocab.with_name("merges.txt")))
    cut = theirs.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    keep = same_to_both(lambda text: [text[start:stop] for _, (start, stop) in cut(text)])
    texts = [text.replace("<|", "<") for text in generated(2 * examples, keep, seed=2)]  # it knows no special tokens
    assert [ours.encode(text) for text in texts] == [found.ids for found in reference.encode_batch(texts)]


@pytest.mark.slow
def test_every_character_that_both_know_is_cut_alike(shipped: Path, characters: list[str]) -> None:
    """Left out elsewhere is what Unicode added or changed since either table was made."""
    theirs = fast_tokenizer(shipped / "gpt2" / "vocab.json")
    cut = theirs.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    same = same_to_both(lambda text: [text[start:stop] for _, (start, stop) in cut(text)])
    known = [character for character in characters if unicodedata.category(character) != "Cn"]
    differing = [character for character in known if not same(character)]
    assert len(differing) < len(known) / 20
    assert all(ord(character) > 0x500 for character in differing)


@pytest.mark.parametrize("text", ["", " ", "a", " a", "a ", f"a{END}b", f"{END} x", "\n", "é", "  a", f"a{END}"])
@pytest.mark.parametrize("space", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_special_tokens_and_the_first_space(vocab: Path, text: str, space: bool, split: bool) -> None:
    ours = our_tokenizer(vocab, add_prefix_space=space)
    theirs = fast_tokenizer(vocab, add_prefix_space=space, split_special_tokens=split)
    options = {"return_offsets_mapping": True, "split_special_tokens": split}
    assert dict(ours(text, **options)) == dict(theirs(text, return_offsets_mapping=True))


@pytest.mark.parametrize("ends", [(False, False), (True, False), (False, True), (True, True)])
def test_tokens_around_texts(vocab: Path, ends: tuple[bool, bool]) -> None:
    names = {"add_bos_token": ends[0], "add_eos_token": ends[1]}
    ours, theirs = our_tokenizer(vocab, **names), fast_tokenizer(vocab, **names)
    for texts in (("a",), ("a", "b"), (["a", "b"], ["c", "d"])):
        assert dict(ours(*texts)) == {key: theirs(*texts)[key] for key in ours.model_input_names}


def test_surrogates_are_tiktokens(vocab: Path, encoding: tiktoken.Encoding) -> None:
    ours = GPT2Tokenizer(vocab)
    for text in ("\ud800", "a\udfffb", "x \udc00\ud800 y", "\ud800\n\ud801", "a\ud83d\udc4d b", "\ud83d\udc4d" * 3):
        assert ours.encode(text) == encoding.encode(text)


def test_decoding_is_transformers(vocab: Path, theirs: Any) -> None:
    ours, rng = our_tokenizer(vocab), random.Random(0)
    for _ in range(1000):
        ids = [rng.randrange(len(ours)) for _ in range(rng.randrange(12))]
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.decode([*ids, ours.vocab[END]], skip_special_tokens=True) == ours.decode(
            ids, skip_special_tokens=True
        )


# --- Folders ----------------------------------------------------------------------------------------------------------

TEXT = f"Ünïcode [X] 中国{END} Never-ending[X]\n\n\n  _a_"


def test_transformers_reads_what_we_save(vocab: Path, tmp_path: Path) -> None:
    ours = GPT2Tokenizer(vocab, max_len=99, pad_token=END, special_tokens=["[X]", "_a_"])
    ours.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    for theirs in (GPT2TokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert theirs(TEXT)["input_ids"] == ours(TEXT)["input_ids"]
        assert (theirs.model_max_length, theirs.pad_token, len(theirs)) == (99, END, len(ours))


def test_transformers_reads_the_vocabulary_that_we_save(vocab: Path, tmp_path: Path) -> None:
    GPT2Tokenizer(vocab, max_len=99).save_vocabulary(tmp_path)
    assert GPT2TokenizerFast.from_pretrained(tmp_path)(TEXT)["input_ids"] == GPT2Tokenizer(vocab).encode(TEXT)


def test_we_read_what_transformers_saves(vocab: Path, tmp_path: Path) -> None:
    theirs = GPT2TokenizerFast(
        vocab=str(vocab), merges=str(vocab.with_name("merges.txt")), model_max_length=99, add_prefix_space=True
    )
    theirs.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["[X]"]})
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    ours = GPT2Tokenizer.from_pretrained(tmp_path)
    assert dict(ours(TEXT, return_offsets_mapping=True)) == dict(theirs(TEXT, return_offsets_mapping=True))
    assert (ours.max_len, ours.pad_token_id, ours.all_special_tokens) == (99, ours.vocab_size, [END, "<pad>", "[X]"])
