"""BERT's tokenizer against transformers' BertTokenizerFast, with a small vocabulary and that of bert-base-uncased."""

import json
import random
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tokenizers.normalizers import NFD
from transformers import AutoTokenizer, BertTokenizerFast

from plugins.bert.tokenization import BertTokenizer, load_vocab
from registry.tokenization.words import BasicTokenizer

pytestmark = pytest.mark.parity

STYLES: list[dict[str, Any]] = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"tokenize_chinese_chars": False},
]
PIECES = [
    "[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[mask]", "[MASK", "]", "##", "##ing", "...", "x" * 100, "x" * 101,
    "don't", "Hello", "naïve", "ÀÉ", "İstanbul", "ΣΑΣ", "ß", "ﬁ", "Ⅷ", "Å", "中国", "日本語", "가나다", "नमस्ते", "مرحبا",
    "👩‍👩‍👧", "e\u0301", "o\u0308\u0323", "\u1dd0\u1bf2", "\ua9c0", "\u302e", "\U0001d15e", "\U0002f800", "\uf900",
    " ", "\t", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u3000", "\u200b", "\ufffd",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocab(vocabularies: Path) -> str:
    return str(vocabularies / "bert" / "vocab.txt")


@pytest.fixture(scope="module")
def pair(vocab: str) -> tuple[BertTokenizer, Any]:
    return BertTokenizer(vocab), BertTokenizerFast(vocab)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["english", "multilingual"])
@pytest.mark.parametrize("style", STYLES, ids=str)
def test_ids_and_offsets_of_natural_text(
    vocabularies: Path, documents: Any, vocab: str, name: str, style: dict[str, Any]
) -> None:
    ours, theirs = BertTokenizer(vocab, **style), BertTokenizerFast(vocab, **style)
    texts = documents(vocabularies / "text" / f"{name}.txt")
    expected = theirs(texts, return_offsets_mapping=True)
    found = ours(texts, return_offsets_mapping=True)
    for key in ("input_ids", "token_type_ids", "attention_mask", "offset_mapping"):
        assert found[key] == expected[key]
    assert ours(texts)["input_ids"] == expected["input_ids"]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_ids_and_offsets_of_odd_text(odd: list[str], vocab: str, style: dict[str, Any]) -> None:
    ours, theirs = BertTokenizer(vocab, **style), BertTokenizerFast(vocab, **style)
    keep = asked_of_both(theirs, style)
    texts = ["".join(filter(keep, text)) for text in odd]
    assert dict(ours(texts, return_offsets_mapping=True)) == dict(theirs(texts, return_offsets_mapping=True))


# --- Generated text ---------------------------------------------------------------------------------------------------


def asked_of_both(theirs: Any, style: dict[str, Any]) -> Callable[[str], bool]:
    """Whether a character means the same to our tables of Unicode and to the reference's, which differ in age."""
    backend = theirs.backend_tokenizer
    ours = BasicTokenizer(style.get("do_lower_case", True), (), strip_accents=style.get("strip_accents"))
    nfd = NFD()

    @cache
    def same(character: str) -> bool:
        text = f"A{character}b"
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))]
        marked = f"a\u0345{character}\u0334b"  # of the highest combining class, and of the lowest
        return words == ours.tokenize(text) and nfd.normalize_str(marked) == unicodedata.normalize("NFD", marked)

    return same


def generated(count: int, keep: Callable[[str], bool], seed: int) -> list[str]:
    """Texts of any characters: signs of ASCII, marks, special tokens, all planes."""
    rng = random.Random(seed)
    marks = [chr(code) for code in range(0x20000) if unicodedata.category(chr(code)).startswith("M")]
    kinds: list[Callable[[], str]] = [
        lambda: chr(rng.randrange(0x20, 0x7F)),
        lambda: chr(rng.randrange(0x250)),
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
@pytest.mark.parametrize(("style", "share"), list(zip(STYLES, (8, 2, 2, 2), strict=True)), ids=str)
def test_ids_and_offsets_of_generated_text(vocab: str, style: dict[str, Any], share: int, examples: int) -> None:
    ours, theirs = BertTokenizer(vocab, **style), BertTokenizerFast(vocab, **style)
    texts = generated(share * examples, asked_of_both(theirs, style), seed=share)
    expected = theirs(texts, return_offsets_mapping=True)
    found = ours(texts, return_offsets_mapping=True)
    without_offsets = ours(texts)
    for row, text in enumerate(texts):
        assert found["input_ids"][row] == without_offsets["input_ids"][row] == expected["input_ids"][row], ascii(text)
        assert found["offset_mapping"][row] == expected["offset_mapping"][row], ascii(text)


@pytest.mark.slow
def test_every_character_that_both_know_is_spelt_alike(shipped: Path, characters: list[str]) -> None:
    """Left out is what Unicode added or changed since either table was made: under one in two hundred."""
    theirs = BertTokenizerFast(str(shipped / "bert" / "vocab.txt"))
    same = asked_of_both(theirs, {})
    differing = [character for character in characters if not same(character)]
    assert len(differing) < len(characters) / 200
    assert all(ord(character) > 0x300 for character in differing)


@pytest.mark.slow
def test_any_string_at_all_is_taken(pair: tuple[BertTokenizer, Any], examples: int) -> None:
    texts = [text + "\ud800x\udfff" for text in generated(2 * examples, lambda _: True, seed=1)]
    for text in texts:
        assert pair[0](text)["input_ids"] == pair[0](text, return_offsets_mapping=True)["input_ids"]


@pytest.mark.parametrize(
    "text",
    ["[MASK].", "a [MASK] b", "[mask]", "un[MASK]able", "[CLS][SEP] [PAD]x[UNK]", "[MA\u200bSK]", "[ MASK ]", "[MASK"],
)
@pytest.mark.parametrize("split", [True, False])
def test_special_tokens_in_text(pair: tuple[BertTokenizer, Any], text: str, split: bool) -> None:
    ours, theirs = pair
    assert ours.tokenize(text, split_special_tokens=split) == theirs.tokenize(text, split_special_tokens=split)
    options = {"return_offsets_mapping": True, "split_special_tokens": split}
    assert ours(text, **options)["offset_mapping"] == theirs(text, **options)["offset_mapping"]


# --- Batches ----------------------------------------------------------------------------------------------------------

FIRSTS = ["a b c d e f g", "unaffable", "", "a b", "x " * 30, "a b c d e"]
SECONDS = ["a b c d e", "x " * 25, "q", "", "don't stop", "x " * 30]


@pytest.mark.parametrize("max_length", [4, 5, 8, 11, 20])
@pytest.mark.parametrize("strategy", [True, "longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("stride", [0, 1, 2])
@pytest.mark.parametrize("special", [True, False])
def test_truncation_and_windows(
    pair: tuple[BertTokenizer, Any], max_length: int, strategy: bool | str, stride: int, special: bool
) -> None:
    ours, theirs = pair
    for first, second in product(FIRSTS, [*SECONDS, None]):
        texts = [[first], None if second is None else [second]]  # alone, "" is not a second text to the reference
        options: dict[str, Any] = {
            "truncation": strategy, "max_length": max_length, "stride": stride, "return_offsets_mapping": True,
            "add_special_tokens": special,
        }  # fmt: skip
        try:
            expected = theirs(*texts, return_overflowing_tokens=stride > 0, **options)
        except BaseException as problem:  # a panic of Rust is not an Exception
            refusal = str(problem)
        else:
            refusal = ""
        if refusal:
            assert "Truncation error" in refusal or "`stride` must be" in refusal
            with pytest.raises(ValueError, match=r"stride=|cannot fit"):
                ours(*texts, **options)
        else:
            found = ours(*texts, **options)
            assert dict(found) == {key: expected[key] for key in found}


@pytest.mark.parametrize("padding", [True, "longest", "max_length", False])
def test_padding_of_pairs_and_texts(pair: tuple[BertTokenizer, Any], padding: bool | str) -> None:
    ours, theirs = pair
    options: dict[str, Any] = {"padding": padding, "max_length": 40, "truncation": True, "return_offsets_mapping": True}
    for texts in [(FIRSTS, SECONDS), (FIRSTS,), ([*zip(FIRSTS, SECONDS, strict=True)],)]:
        assert dict(ours(*texts, **options)) == dict(theirs(*texts, **options))
    found = ours(FIRSTS, SECONDS, padding="max_length", max_length=60, return_tensors="pt")
    expected = theirs(FIRSTS, SECONDS, padding="max_length", max_length=60, return_tensors="pt")
    assert list(found) == list(expected)
    assert all(found[key].equal(expected[key]) and found[key].dtype == expected[key].dtype for key in found)


def test_windows_know_their_text(pair: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = pair
    options: dict[str, Any] = {"truncation": True, "max_length": 6, "stride": 2, "padding": True}
    expected = theirs(FIRSTS, return_overflowing_tokens=True, **options)
    found = ours(FIRSTS, **options)
    assert list(found.text_index) == expected["overflow_to_sample_mapping"]
    assert found["input_ids"] == expected["input_ids"]


# --- Tokens to text, and folders --------------------------------------------------------------------------------------


def test_decoding(pair: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = pair
    rng = random.Random(0)
    for _ in range(2000):
        ids = [rng.randrange(len(ours)) for _ in range(rng.randrange(12))] + [ours.mask_token_id] * rng.randrange(2)
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_lookups(pair: tuple[BertTokenizer, Any]) -> None:
    ours, theirs = pair
    assert ours.get_vocab() == theirs.get_vocab()
    assert (len(ours), ours.vocab_size) == (len(theirs), theirs.vocab_size)
    assert ours.convert_tokens_to_ids(["the", "zzqq", "[MASK]"]) == theirs.convert_tokens_to_ids(
        ["the", "zzqq", "[MASK]"]
    )
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens)
    for name in ("unk", "sep", "pad", "cls", "mask", "bos", "eos"):
        assert getattr(ours, f"{name}_token") == getattr(theirs, f"{name}_token")
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id")


TEXT = "Ünïcode [X] 中国 [MASK]. Never-ending[X]"


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_transformers_reads_what_we_save(vocab: str, tmp_path: Path, style: dict[str, Any]) -> None:
    ours = BertTokenizer(vocab, max_len=99, added_tokens={"[X]": len(load_vocab(vocab))}, **style)
    ours.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for theirs in (BertTokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert theirs(TEXT)["input_ids"] == ours(TEXT)["input_ids"]
        assert theirs.model_max_length == 99


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_we_read_what_transformers_saves(vocab: str, tmp_path: Path, style: dict[str, Any]) -> None:
    theirs = BertTokenizerFast(vocab, model_max_length=99, **style)
    theirs.add_tokens(["[X]"], special_tokens=True)
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.txt").exists()
    ours = BertTokenizer.from_pretrained(tmp_path)
    assert ours(TEXT, return_offsets_mapping=True) == theirs(TEXT, return_offsets_mapping=True)
    assert ours.max_len == 99
