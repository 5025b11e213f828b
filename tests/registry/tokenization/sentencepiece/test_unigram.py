"""Unigram models in a ``tokenizer.json``: ids are those of ``sentencepiece`` and of ``tokenizers``."""

import io
import json
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import VocabError
from registry.files.protobuf import fields
from registry.tokenization.sentencepiece.unigram import read_unigram, unigram_model

SENTENCES = ("the cat sat on the mat .", "a name becomes a model : that is what it does", "größer als gedacht")


@cache
def model() -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4), model_writer=written, vocab_size=60, model_type="unigram",
        character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    return written.getvalue()


@cache
def keys() -> dict[str, Any]:
    """The ``tokenizer.json`` that transformers makes of the model, with a sentinel behind the pieces."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model())
    pieces = [[processor.id_to_piece(n), processor.get_score(n)] for n in range(processor.get_piece_size())]
    normalizer = dict(fields(dict(fields(model()))[3]))  # type: ignore[arg-type]
    special = ("<pad>", "</s>", "<unk>", "<extra_id_0>")
    ids = {text: number for number, (text, _) in enumerate([*pieces, ["<extra_id_0>", 0.0]])}
    return {
        "added_tokens": [{"id": ids[text], "content": text, "special": True} for text in special],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": b64encode(normalizer[2]).decode()},  # type: ignore[arg-type]
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": 2 * [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [*pieces, ["<extra_id_0>", 0.0]], "byte_fallback": False},
    }


def written(directory: Path, **changes: Any) -> Path:
    path = directory / "tokenizer.json"
    path.write_text(json.dumps({**keys(), **changes}))
    return path


@cache
def theirs() -> tokenizers.Tokenizer:
    blank = {"version": "1.0", "truncation": None, "padding": None, "decoder": None}
    return tokenizers.Tokenizer.from_str(json.dumps({**blank, **keys(), "added_tokens": [], "post_processor": None}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sentencepiece.SentencePieceProcessor:
    data, options = read_unigram(written(tmp_path_factory.mktemp("made")))
    assert options == {"eos_token": "</s>", "add_eos_token": True}
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def test_pieces_scores_and_special_tokens_are_those_of_the_model(made: Any) -> None:
    own = sentencepiece.SentencePieceProcessor(model_proto=model())
    assert made.get_piece_size() == own.get_piece_size(), "the sentinel is none of them"
    for number in range(own.get_piece_size()):
        assert made.id_to_piece(number) == own.id_to_piece(number)
        assert made.get_score(number) == own.get_score(number)
        assert made.is_control(number) == own.is_control(number)
    assert (made.unk_id(), made.eos_id(), made.pad_id(), made.bos_id()) == (2, 1, 0, -1)


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cn", "Cc", "Zl", "Zp"))))
def test_ids_are_those_of_the_model_and_of_tokenizers(text: str, made: Any) -> None:
    own = sentencepiece.SentencePieceProcessor(model_proto=model())
    assert made.encode(text) == own.encode(text) == theirs().encode(text).ids


REFUSED: dict[str, tuple[str, Any, str]] = {
    "another model": ("model", {"type": "BPE"}, "model must be a Unigram without byte_fallback"),
    "bytes": ("model", {"type": "Unigram", "byte_fallback": True}, "model must be a Unigram without byte_fallback"),
    "no pieces": ("model", {"type": "Unigram", "unk_id": 0}, "unk_id must be the id of a piece"),
    "a vocabulary that is no list of pairs": ("model", {"type": "Unigram", "vocab": [["a"]]}, "pairs of a piece and"),
    "a score that is none": ("model", {"type": "Unigram", "vocab": [["a", "b"]]}, "pairs of a piece and its score"),
    "spaces that are kept": ("pre_tokenizer", {"type": "Metaspace"}, "pre_tokenizer must split at white space"),
    "another normalizer": ("normalizer", {"type": "NFKC"}, "normalizer must be Precompiled, or null"),
    "a table that is not base64": (
        "normalizer", {"type": "Precompiled", "precompiled_charsmap": "?"}, "precompiled_charsmap is not base64"
    ),
    "other tokens around a text": ("post_processor", {"type": "Other"}, "post_processor puts texts between tokens"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_another_pipeline_is_refused(what: str, tmp_path: Path) -> None:
    part, value, message = REFUSED[what]
    with pytest.raises(VocabError, match=message) as caught:
        read_unigram(written(tmp_path, **{part: value}))
    assert "tokenizer.json" in str(caught.value)


def test_a_model_of_many_pieces_is_read_by_the_library() -> None:
    pieces = [("<unk>", 0.0), *((f"\u2581piece{number}", -float(number)) for number in range(300))]
    made = sentencepiece.SentencePieceProcessor(model_proto=unigram_model(pieces, 0))
    assert made.get_piece_size() == 301
    assert made.encode("piece7 piece299") == [8, 300]
