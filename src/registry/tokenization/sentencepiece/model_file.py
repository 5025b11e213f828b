"""A ``tokenizer.model``: a protobuf message of ``sentencepiece``, which is checked before that library reads it.

``sentencepiece`` would read some damaged files as if nothing were wrong.
"""

import struct
from math import isfinite
from typing import NamedTuple

from registry.errors import VocabError
from registry.files.protobuf import Value, fields
from registry.tokenization.vocabulary import LONGEST_TOKEN, MOST_BYTES, MOST_TOKENS

PIECE, TRAINER, NORMALIZER = 1, 2, 3
"""Fields of a model: one for each piece, how it was trained, and how texts are normalized."""
TEXT, SCORE = 1, 2
"""Fields of a piece."""
MODEL_TYPE, BPE, TREAT_WHITESPACE_AS_SUFFIX = 3, 2, 24
"""A field of the trainer, and its value for rules that merge pairs; another field."""
PRECOMPILED_CHARSMAP, ADD_DUMMY_PREFIX, REMOVE_EXTRA_WHITESPACES, ESCAPE_WHITESPACES = 2, 3, 4, 5
"""Fields of the normalizer; all but the first are 1 unless they are given."""


class ModelSettings(NamedTuple):
    """The settings of a model that decide how texts are cut, by the names that ``sentencepiece`` has for them."""

    is_bpe: bool
    """Whether ``model_type`` is ``bpe``."""
    treat_whitespace_as_suffix: bool
    has_charsmap: bool
    """Whether characters are normalized."""
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool


def without_dummy_prefix(model: bytes) -> bytes:
    """The same model, which puts no space before a text: messages that follow each other are one message."""
    return model + bytes([NORMALIZER << 3 | 2, 2, ADD_DUMMY_PREFIX << 3, 0])


def check_model(data: bytes, origin: str) -> ModelSettings:
    """The settings of a model.

    Args:
        data: The bytes of the file.
        origin: Its name in errors.

    Raises:
        VocabError: The file is not a model, or a damaged one.
    """
    if len(data) > MOST_BYTES:
        raise VocabError(f"{origin} is not a model of sentencepiece: it has more than {MOST_BYTES:,} bytes.")
    parts: dict[int, dict[int, Value]] = {TRAINER: {}, NORMALIZER: {}}
    number = 0
    try:
        for key, value in fields(data):
            if key == PIECE:
                fault = _fault(value)
                if fault or number == MOST_TOKENS:
                    raise ValueError(f"piece {number} {fault or f'is one too many: at most {MOST_TOKENS:,} are taken'}")
                number += 1
            elif key in parts:
                parts[key].update(fields(_message(value)))
    except ValueError as problem:
        raise VocabError(
            f"{origin} is not a model of sentencepiece, or a damaged one: {problem}.",
            hint="A tokenizer.model of sentencepiece is needed; download it again.",
        ) from problem
    if not number:
        raise VocabError(f"{origin} holds no pieces: it is empty, or not a model of sentencepiece.")
    return _settings(parts[TRAINER], parts[NORMALIZER])


def _settings(trainer: dict[int, Value], normalizer: dict[int, Value]) -> ModelSettings:
    return ModelSettings(
        is_bpe=trainer.get(MODEL_TYPE) == BPE,
        treat_whitespace_as_suffix=bool(trainer.get(TREAT_WHITESPACE_AS_SUFFIX)),
        has_charsmap=bool(normalizer.get(PRECOMPILED_CHARSMAP)),
        add_dummy_prefix=bool(normalizer.get(ADD_DUMMY_PREFIX, 1)),
        remove_extra_whitespaces=bool(normalizer.get(REMOVE_EXTRA_WHITESPACES, 1)),
        escape_whitespaces=bool(normalizer.get(ESCAPE_WHITESPACES, 1)),
    )


def _message(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"the number {value} stands where a message is needed")
    return value


def _fault(piece: Value) -> str | None:
    """What is wrong with a piece, as text."""
    found = dict(fields(_message(piece)))
    text, score = found.get(TEXT, b""), found.get(SCORE, bytes(4))
    if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4:
        return "has no text and score"
    if not text or b"\0" in text:
        return "is empty" if not text else "has a NUL in it"
    if len(text) > LONGEST_TOKEN:
        return f"has {len(text):,} bytes, where {LONGEST_TOKEN:,} are taken"
    return None if isfinite(*struct.unpack("<f", score)) else "has a score that is not a number"
