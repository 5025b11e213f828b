"""The tokenizer in the keys of a GGUF file, as the files that transformers has for it."""

import json
import struct
from collections.abc import Mapping
from typing import Any

from registry.errors import UnsupportedError, VocabError
from registry.records import Paths

from .reading import GGUF, read

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Types of tokens, by the numbers of sentencepiece; 1 is any other, 6 a byte."""

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 finds words, as its ``tokenizer.json`` has it."""


def _byte_level(*before: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pre-tokenizer that writes words in bytes; with nothing before it, it finds them as well."""
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"type": "Sequence", "pretokenizers": [*before, last]} if before else last


SPLIT = {"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": False}
WORDS: Mapping[str, Mapping[str, Any]] = {
    "gpt-2": _byte_level(),
    "llama-bpe": {
        "type": "Sequence",
        "pretokenizers": [SPLIT, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}],
    },
    "smollm": _byte_level({"type": "Digits", "individual_digits": True}),
}
"""How words are found, by llama.cpp's names for it."""


def files(paths: Paths) -> dict[str, str | bytes]:
    """The files of the tokenizer, name and content; none where the file has no tokenizer.

    Raises:
        VocabError: The vocabulary is damaged.
        UnsupportedError: It is of a kind that no tokenizer here computes.
        WeightsError: Whatever ``reading.read`` raises.
    """
    found = read(paths)
    kind = found.keys.get("tokenizer.ggml.model")
    if kind is None:
        return {}
    if kind not in KINDS:
        raise UnsupportedError(f"{found.path} has a tokenizer of the kind {kind!r:.40}; read are {', '.join(KINDS)}.")
    name, published, write = KINDS[kind]
    own = "GPT2Tokenizer" if found.architecture == "gpt2" else published
    options = {"tokenizer_class": own, **_options(found)}
    return {name: write(found), "tokenizer_config.json": json.dumps(options)}


def _options(found: GGUF) -> dict[str, Any]:
    """The keys of a ``tokenizer_config.json``."""
    tokens = _listed(found, "tokens", str)
    named = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    ids = {option: found.keys.get(f"tokenizer.ggml.{word}_token_id") for word, option in named.items()}
    for option, number in ids.items():
        if number is not None and not (type(number) is int and 0 <= number < len(tokens)):
            raise VocabError(f"{found.path} has {number!r:.40} as the id of {option}_token, of {len(tokens):,} tokens.")
    flags = {name: found.keys.get(f"tokenizer.ggml.{name}") for name in ("add_bos_token", "add_eos_token")}
    known = {
        **{f"{option}_token": tokens[number] for option, number in ids.items() if number is not None},
        **flags,
        "chat_template": found.keys.get("tokenizer.chat_template"),
        "model_max_length": found.get("context_length"),
    }
    return {key: value for key, value in known.items() if value is not None}


def _listed(found: GGUF, key: str, kind: type, length: int | None = None) -> list[Any]:
    """A list of the tokenizer, of items of one kind."""
    items = found.keys.get(f"tokenizer.ggml.{key}")
    if not isinstance(items, list) or (items and type(items[0]) is not kind) or length not in (None, len(items)):
        raise VocabError(f"{found.path} lacks tokenizer.ggml.{key}, or has it in another form.")
    return items


# --- sentencepiece ----------------------------------------------------------------------------------------------------


def _model(found: GGUF) -> bytes:
    """A ``tokenizer.model``: pieces with scores, and how texts are normalized (sentencepiece_model.proto)."""
    tokens = _listed(found, "tokens", str)
    scores = _listed(found, "scores", float, len(tokens))
    types = _listed(found, "token_type", int, len(tokens))
    pieces = [
        _message(1, _message(1, token.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + _varint(kind))
        for token, score, kind in zip(tokens, scores, types, strict=True)
    ]
    trainer = _number(3, 2) + _number(35, int(6 in types))  # pairs that merge; bytes for what is not a piece
    named = ((40, "unknown"), (41, "bos"), (42, "eos"), (43, "padding"))
    for field, word in named:
        trainer += _number(field, found.keys.get(f"tokenizer.ggml.{word}_token_id", -1))
    prefix = found.keys.get("tokenizer.ggml.add_space_prefix", True)
    normalizer = _number(3, int(prefix is not False)) + _number(4, 0) + _number(5, 1)
    return b"".join(pieces) + _message(2, trainer) + _message(3, normalizer)


def _varint(number: int) -> bytes:
    """A number in groups of 7 bits; a negative one as 64 bits."""
    number %= 2**64
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


# --- Bytes that merge in pairs ----------------------------------------------------------------------------------------


def _json(found: GGUF) -> str:
    """A ``tokenizer.json``: tokens of bytes, and the rules by which they merge."""
    words = found.keys.get("tokenizer.ggml.pre", "gpt-2")
    if words not in WORDS:
        raise UnsupportedError(f"{found.path} finds words as {words!r:.40} does; understood are {', '.join(WORDS)}.")
    tokens = _listed(found, "tokens", str)
    types = _listed(found, "token_type", int, len(tokens))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": number, "content": token, **flags, "special": types[number] == CONTROL}
        for number, token in enumerate(tokens)
        if types[number] in (CONTROL, USER_DEFINED)
    ]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": WORDS[words],
            "post_processor": None,
            "decoder": {"type": "ByteLevel"},
            "model": {
                "type": "BPE",
                "ignore_merges": words == "llama-bpe",
                "vocab": {token: number for number, token in enumerate(tokens)},
                "merges": _listed(found, "merges", str),
            },
        }
    )


KINDS: Mapping[str, tuple[str, str, Any]] = {
    "llama": ("tokenizer.model", "LlamaTokenizer", _model),
    "gpt2": ("tokenizer.json", "PreTrainedTokenizerFast", _json),
}
"""Kinds of tokenizers: the file, the class in transformers that reads it, and what writes it."""
