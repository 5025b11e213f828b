"""``tokenizer.json``, the one file of a tokenizer which transformers 5 writes.

It describes a tokenizer as a pipeline of parts.  A plugin states which values of which part its tokenizer was made
for; a file that says anything else would be read as a different tokenizer, and is refused.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry.errors import VocabError
from registry.files.filenames import TOKENIZER_NAME
from registry.files.strict_json import parse_json_object, read_json_object
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.vocabulary import MOST_BYTES, MOST_VALUES, read_bytes

LAST_NUMBER = rb"(\d+)[\s},]*$"
"""Finds the number with which a part of a file ends, but for closing brackets."""


def read_tokenizer_json(path: Path, understood: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """The keys of a ``tokenizer.json``; its added tokens are read with those of the other files of a tokenizer.

    Args:
        path: The file.
        understood: Keys of parts, and the value that each must have where it is set; a tuple of values that mean the
            same, or None for a part that must be absent.

    Raises:
        VocabError: A part is not as it must be; the error names the file and the key.
    """
    keys = read_json_object(path, limit=MOST_BYTES, values=MOST_VALUES, error=VocabError)
    for name, expected in understood.items():
        part = keys.get(name)
        if expected is None and part is None:
            continue
        if expected is None or not isinstance(part, dict):
            needed = "none" if expected is None else f"a {expected['type']}"
            raise VocabError(f"{path}: {name} is {part!r:.80}, but must be {needed}.")
        for key, value in expected.items():
            values = value if isinstance(value, tuple) else (value,)
            if part.get(key, values[0]) not in values:
                raise VocabError(
                    f"{path}: {name}.{key} is {part[key]!r:.80}; only {values[0]!r} is supported.",
                    hint="Without it, text would be split differently than in training.",
                )
    if not isinstance(keys["model"].get("vocab"), dict):
        raise VocabError(f"{path}: model.vocab must map tokens to their ids.")
    return keys


def check_vocabulary(path: Path, vocab: Mapping[str, int], origin: str) -> None:
    """Raise VocabError where the vocabulary in a ``tokenizer.json`` is another than that of the file ``origin``.

    The file is parsed only where its last id is not the last one: that takes as long as to load a tokenizer.
    """
    if _last_id(path) == len(vocab) - 1:
        return
    found = read_json_object(path, limit=MOST_BYTES, values=MOST_VALUES, error=VocabError).get("model")
    listed = found.get("vocab") if isinstance(found, dict) else None
    if isinstance(listed, dict) and listed != vocab:
        token = next(text for text in (*listed, *vocab) if listed.get(text) != vocab.get(text))
        raise VocabError(
            f"{path} has {len(listed):,} tokens and {origin} has {len(vocab):,}: {token!r} has the id "
            f"{listed.get(token)} in one and {vocab.get(token)} in the other.",
            hint="Remove the one of the two files that does not belong to the model.",
        )


def read_tokenizer_bytes(path: Path) -> bytes:
    """The bytes of a ``tokenizer.json``.  Raises VocabError where they cannot be read, or are too many."""
    data = read_bytes(path)
    if len(data) > MOST_BYTES:
        raise VocabError(f"{path} holds more than {MOST_BYTES:,} bytes, which is more than any file of its kind needs.")
    return data


def _last_id(path: Path) -> int | None:
    """The id that a ``tokenizer.json`` gives to the last token of its vocabulary, as it is usually written."""
    data = read_tokenizer_bytes(path)
    rules = data.rfind(b'"merges":')
    end = len(data) if rules < 0 else rules
    number = re.search(LAST_NUMBER, data[max(0, end - 100) : end])
    return int(number[1]) if number else None


def tokenizer_json(parts: Mapping[str, Any], added: Iterable[AddedToken]) -> str:
    """The text of a ``tokenizer.json`` of these ``parts`` and ``added`` tokens."""
    keys = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": _listed(added), **parts}
    return json.dumps(keys, ensure_ascii=False)


def with_added_tokens(data: bytes, added: Iterable[AddedToken]) -> bytes:
    """The bytes of a ``tokenizer.json``, with these ``added`` tokens.  Raises VocabError for a damaged file."""
    keys = parse_json_object(data, origin=TOKENIZER_NAME, error=VocabError)
    keys["added_tokens"] = _listed(added)
    return json.dumps(keys, ensure_ascii=False).encode()


def _listed(added: Iterable[AddedToken]) -> list[dict[str, Any]]:
    """Added tokens as a file lists them."""
    return [{"id": token.id, **token.flags()} for token in sorted(added, key=lambda token: token.id or 0)]
