"""Batches against transformers: sides, windows, pairs, words, masks, and what each token stands for."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    GPT2TokenizerFast,
    OpenAIGPTTokenizerFast,
)

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt.tokenization import OpenAIGPTTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.errors import RegistryError

pytestmark = pytest.mark.parity

SMALL = Path(__file__).parent.parent / "fixtures" / "vocabularies"
WORDS = [
    "the", "cat", "don't", "[MASK]", "sat,", "on", "mats.", "naïve", "中国", "x", "", "12", "<|endoftext|>", "\n\n",
    "e-mail", "unbelievable",
]  # fmt: skip
END = "<|endoftext|>"
GPT2_OPTIONS: list[dict[str, Any]] = [
    {"pad_token": END},
    {"pad_token": END, "add_bos_token": True, "add_eos_token": True, "add_prefix_space": True},
]


def bert() -> tuple[Any, Any]:
    vocab = SMALL / "bert" / "vocab.txt"
    return BertTokenizer(vocab), BertTokenizerFast(str(vocab))


def gpt2(options: dict[str, Any]) -> tuple[Any, Any]:
    vocab, merges = SMALL / "gpt2" / "vocab.json", SMALL / "gpt2" / "merges.txt"
    return GPT2Tokenizer(vocab, **options), GPT2TokenizerFast(vocab=str(vocab), merges=str(merges), **options)


def gpt() -> tuple[Any, Any]:
    vocab, merges = SMALL / "gpt" / "vocab.json", SMALL / "gpt" / "merges.txt"
    theirs = OpenAIGPTTokenizerFast(vocab=str(vocab), merges=str(merges), pad_token="<unk>")
    return OpenAIGPTTokenizer(vocab, pad_token="<unk>", use_spacy=False), theirs


PAIRS = {"bert": bert(), "gpt": gpt(), "gpt2": gpt2(GPT2_OPTIONS[0]), "gpt2 with bos and eos": gpt2(GPT2_OPTIONS[1])}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A tokenizer, and that of transformers."""
    return PAIRS[request.param]


def some_call(rng: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """Texts or words, alone or in pairs, and keywords."""

    def chance(share: float) -> bool:
        return rng.random() < share

    def words(most: int) -> list[str]:
        return [rng.choice(WORDS) for _ in range(rng.randrange(1, most))]

    as_words, rows = chance(0.3), rng.randrange(4)
    columns = [[words(7) if as_words else " ".join(words(9)) for _ in range(rows or 1)] for _ in range(1 + chance(0.5))]
    is_single = not rows and all(column[0] for column in columns)  # "" is not a second text to the reference, if alone
    texts = [column[0] for column in columns] if is_single else columns
    keywords: dict[str, Any] = {"is_split_into_words": as_words, "stride": rng.randrange(3) if chance(0.4) else 0}
    keywords["return_overflowing_tokens"] = chance(0.5)
    if chance(0.8):
        keywords["max_length"] = rng.randrange(5, 18)
        keywords["truncation"] = rng.choice(
            [None, True, "only_first", "longest_first", *["only_second"] * (len(texts) - 1)]
        )
    if chance(0.5):
        keywords["padding"] = rng.choice([True, "max_length"] if "max_length" in keywords else [True])
        if not keywords.get("truncation") and chance(0.5):
            keywords["pad_to_multiple_of"] = rng.choice([4, 8])
    keywords["padding_side"] = rng.choice([None, "left", "right"])
    keywords["add_special_tokens"] = chance(0.8)
    for flag in ("token_type_ids", "attention_mask"):
        keywords[f"return_{flag}"] = rng.choice([None, True, False])
    for flag in ("special_tokens_mask", "offsets_mapping", "length"):
        keywords[f"return_{flag}"] = chance(0.5)
    return texts, keywords


def answers(batch: Any, rows: int, tokens: int) -> list[Any]:
    """What a batch knows of its tokens."""
    sequences = batch.n_sequences
    return [
        (
            batch.tokens(row), batch.word_ids(row), batch.sequence_ids(row),
            [batch.token_to_chars(row, token) for token in range(tokens)],
            [batch.token_to_word(row, token) for token in range(tokens)],
            [batch.token_to_sequence(row, token) for token in range(tokens)],
            [batch.char_to_token(row, char, text) for char in range(20) for text in range(sequences)],
            [batch.word_to_tokens(row, word, text) for word in range(8) for text in range(sequences)],
        )
        for row in range(rows)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_a_call_of_any_keywords_gives_what_the_reference_gives(pair: tuple[Any, Any], seed: int) -> None:
    ours, theirs = pair
    rng = random.Random(seed)
    compared = 0
    for _ in range(30):
        texts, keywords = some_call(rng)
        ours.truncation_side = theirs.truncation_side = rng.choice(["left", "right"])
        try:
            expected = theirs(*texts, **keywords)
        except BaseException:  # a panic of Rust is not an Exception; ours need not refuse the same
            continue
        try:
            found = ours(*texts, **keywords)
        except RegistryError as problem:
            assert "leaves no room" in str(problem) or "cannot fit" in str(problem) or "stride=" in str(problem)  # noqa: PT017
            continue
        assert dict(found) == dict(expected), (texts, keywords)
        rows = expected.encodings
        tokens = min(len(row.ids) for row in rows)
        assert answers(found, len(rows), tokens) == answers(expected, len(rows), tokens), (texts, keywords)
        compared += 1
    assert compared > 15


@pytest.mark.parametrize("side", ["left", "right"])
def test_tensors_are_padded_and_cut_on_either_side(pair: tuple[Any, Any], side: str) -> None:
    ours, theirs = pair
    ours.padding_side = theirs.padding_side = ours.truncation_side = theirs.truncation_side = side
    keywords: dict[str, Any] = {
        "padding": True, "truncation": True, "max_length": 7, "return_tensors": "pt", "return_length": True,
        "return_special_tokens_mask": True, "return_overflowing_tokens": True, "return_offsets_mapping": True,
    }  # fmt: skip
    found, expected = ours(TEXTS, **keywords), theirs(TEXTS, **keywords)
    assert found.keys() == expected.keys()
    for key in found:
        assert torch.equal(found[key], expected[key]), key
        assert found[key].dtype == torch.int64


TEXTS = ["the cat sat on the mat", "the", "", "mats of cats don't sit"]


@pytest.mark.parametrize("padding", [True, False, "max_length"])
@pytest.mark.parametrize("tensors", [None, "pt", "np"])
def test_pad_fills_rows_as_the_reference_does(pair: tuple[Any, Any], padding: bool | str, tensors: str | None) -> None:
    ours, theirs = pair
    keywords: dict[str, Any] = {
        "padding": padding,
        "max_length": 30,
        "pad_to_multiple_of": 4,
        "return_tensors": tensors,
    }
    if padding is False and tensors:
        keywords.pop("return_tensors")
    rows = [dict(ours(text, return_special_tokens_mask=True), label=number) for number, text in enumerate(TEXTS, 1)]
    rows = [row for row in rows if row["input_ids"]]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    for encoded in (rows, columns, [{"input_ids": row["input_ids"]} for row in rows], dict(ours(TEXTS[0]))):
        for side in ("left", "right"):
            found = ours.pad(encoded, padding_side=side, **keywords)
            expected = theirs.pad(json.loads(json.dumps(encoded)), padding_side=side, **keywords)
            assert found.keys() == expected.keys()
            for key in found:
                if tensors and padding is not False:
                    assert found[key].dtype == expected[key].dtype
                    assert found[key].tolist() == expected[key].tolist()
                else:
                    assert found[key] == expected[key]


def test_pad_keeps_tensors_tensors(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    rows = [{"input_ids": torch.tensor([2, 3, 4])}, {"input_ids": torch.tensor([2])}]
    found, expected = ours.pad(rows), theirs.pad(rows)
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in expected.items()
    }


@pytest.mark.parametrize(
    "text", ["a \ud83d\ude00 b", "\ud835\udc9cx", "naïve\ud83d\udc4d, \ud800x", "\ud840\udc0b\ud840\udc0b"]
)
def test_two_surrogates_are_the_character_that_they_mean(pair: tuple[Any, Any], text: str) -> None:
    ours, theirs = pair
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    found, expected = ours(text, return_offsets_mapping=True), theirs(joined, return_offsets_mapping=True)
    assert found["input_ids"] == expected["input_ids"] == ours.encode(text)
    assert found.word_ids() == expected.word_ids()
    widths = [2 if character > "\uffff" else 1 for character in joined]
    for (start, end), (other_start, other_end) in zip(found["offset_mapping"], expected["offset_mapping"], strict=True):
        assert (start, end) == (sum(widths[:other_start]), sum(widths[:other_end]))


# --- Data collators of transformers -----------------------------------------------------------------------------------


def features(tokenizer: Any) -> list[dict[str, Any]]:
    """Texts with a label for each token."""
    rows = [dict(tokenizer(text)) for text in TEXTS if text]
    return [{**row, "labels": [1] * len(row["input_ids"])} for row in rows]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "collator", [DataCollatorWithPadding, DataCollatorForTokenClassification, DataCollatorForSeq2Seq]
)
def test_data_collators_take_our_tokenizers(pair: tuple[Any, Any], collator: Any, side: str) -> None:
    batches = []
    for tokenizer in pair:
        tokenizer.padding_side = side
        rows = features(tokenizer)
        if collator is DataCollatorWithPadding:
            rows = [{**row, "labels": number} for number, row in enumerate(rows)]
        batches.append(collator(tokenizer, pad_to_multiple_of=4)(rows))
    found, expected = batches
    assert found.keys() == expected.keys()
    for key in found:
        assert torch.equal(found[key], expected[key]), key


def test_the_collator_that_masks_words_takes_our_tokenizer() -> None:
    ours, theirs = PAIRS["bert"]
    batches = []
    for tokenizer in (ours, theirs):
        rows = [{key: value for key, value in row.items() if key != "labels"} for row in features(tokenizer)]
        batches.append(DataCollatorForLanguageModeling(tokenizer, seed=3)(rows))
    for key in batches[1]:
        assert torch.equal(batches[0][key], batches[1][key]), key
    assert (batches[0]["labels"] != -100).any()
