"""Unigram models (Kudo, 2018) in a ``tokenizer.json``, as the messages of ``sentencepiece`` of which they were made.

transformers 5 writes no ``spiece.model``: pieces, scores and the table that normalizes characters stand in the one
file, and are put together here again.  The library then cuts texts as it does with the model itself.
"""

import struct
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.tokenization.causal import bos_and_eos
from registry.tokenization.sentencepiece.model_file import (
    MODEL_TYPE,
    NORMALIZER,
    PIECE,
    PRECOMPILED_CHARSMAP,
    SCORE,
    TEXT,
    TRAINER,
)
from registry.tokenization.vocabulary import MOST_BYTES, MOST_VALUES

UNIGRAM, UNK_ID = 1, 40
"""A type of models; another field of the trainer."""
KIND, NORMAL, UNKNOWN, CONTROL = 3, 1, 2, 3
"""Another field of a piece, and its values for an ordinary one, for the unknown one, and for a special token."""
SPECIAL_PIECES: Mapping[int, str] = {45: "<unk>", 46: "<s>", 47: "</s>", 48: "<pad>"}
"""Fields of the trainer that name special pieces, with the names that T5 and its relatives give them."""


def unigram_model(
    pieces: Iterable[tuple[str, float]], unk_id: int, control: Iterable[str] = (), charsmap: bytes = b""
) -> bytes:
    """A unigram model of sentencepiece, which puts a space before a text, and takes several spaces for one.

    Args:
        pieces: Texts and their log-probabilities, in the order of ids.
        unk_id: The id of the unknown token.
        control: Pieces that are not text, such as the end of one.
        charsmap: The table that normalizes characters, as sentencepiece compiles it; none for no change.

    Returns:
        The bytes of its file.
    """
    specials = {*control}
    message = bytearray()
    for number, (text, score) in enumerate(pieces):
        kind = UNKNOWN if number == unk_id else CONTROL if text in specials else NORMAL
        message += _bytes(PIECE, _bytes(TEXT, text.encode()) + _float(SCORE, score) + _number(KIND, kind))
    names = b"".join(_bytes(field, name.encode()) for field, name in SPECIAL_PIECES.items())
    message += _bytes(TRAINER, _number(MODEL_TYPE, UNIGRAM) + _number(UNK_ID, unk_id) + names)
    return bytes(message + _bytes(NORMALIZER, _bytes(PRECOMPILED_CHARSMAP, charsmap)))


def read_unigram(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The unigram model that a ``tokenizer.json`` describes, and options of its tokenizer.

    Added tokens behind all pieces, such as the sentinels of T5, are none of the model.

    Raises:
        VocabError: The file describes another kind of tokenizer; the error names the part.
    """
    keys = read_json_object(path, limit=MOST_BYTES, values=MOST_VALUES, error=VocabError)
    model, added = keys.get("model"), keys.get("added_tokens")
    if not isinstance(model, dict) or model.get("type") != "Unigram" or model.get("byte_fallback"):
        raise VocabError(f"{path}: model must be a Unigram without byte_fallback.")
    _check_spaces(keys.get("pre_tokenizer"), path)
    pieces = [_piece(entry, path) for entry in _listed(model.get("vocab"))]
    special = {token.get("content") for token in _listed(added) if isinstance(token, dict)}
    while pieces and pieces[-1][0] in special:
        pieces.pop()
    unk_id = model.get("unk_id")
    if type(unk_id) is not int or not 0 <= unk_id < len(pieces):
        raise VocabError(f"{path}: model.unk_id must be the id of a piece, not {unk_id!r:.80}.")
    control = [text for text, _ in pieces if text in special]
    charsmap = _charsmap(keys.get("normalizer"), path)
    return unigram_model(pieces, unk_id, control, charsmap), bos_and_eos(keys.get("post_processor"), str(path))


def _check_spaces(part: Any, path: Path) -> None:
    """Raise VocabError unless white space separates words, and each begins with a space."""
    match part:
        case {"pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581"} as spaces]}:
            always = spaces.get("prepend_scheme", "always" if spaces.get("add_prefix_space", True) else "never")
            if always == "always":
                return
    raise VocabError(
        f"{path}: pre_tokenizer must split at white space and write \u2581 before each word.",
        hint="Other rules would split text differently than the tokenizer which the model was trained with.",
    )


def _charsmap(part: Any, path: Path) -> bytes:
    """The table of a normalizer, if it has one.  Raises VocabError for one that does anything else."""
    match part:
        case None:
            return b""
        case {"type": "Precompiled", "precompiled_charsmap": str(text)}:
            try:
                return b64decode(text, validate=True)
            except Error as problem:
                raise VocabError(f"{path}: normalizer.precompiled_charsmap is not base64: {problem}.") from problem
    raise VocabError(f"{path}: normalizer must be Precompiled, or null.")


def _piece(entry: Any, path: Path) -> tuple[str, float]:
    match entry:
        case [str(text), float() | int() as score] if isfinite(score):
            return text, float(score)
    raise VocabError(f"{path}: model.vocab must hold pairs of a piece and its score, not {entry!r:.80}.")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# --- The wire format (registry.files.protobuf) ------------------------------------------------------------------------


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
