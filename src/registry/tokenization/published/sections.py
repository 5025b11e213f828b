"""The sections ``truncation`` and ``padding`` of a ``tokenizer.json``, as far as they set options."""

import re
from pathlib import Path
from typing import Any

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.tokenization.vocabulary import MOST_BYTES, MOST_VALUES, read_bytes

LEFT = rb'"direction"\s*:\s*"Left"'
"""Finds a side that is not the usual one, in a fraction of the time in which the file is read as JSON."""
START = 2**12
"""Bytes in which the sections of published files end."""
GENERAL = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Published classes that have no special tokens of their own, so that padding is as the file says."""


def options_in(path: Path, tokenizer_class: Any) -> dict[str, str]:
    """The options ``padding_side``, ``truncation_side`` and ``pad_token`` that a ``tokenizer.json`` sets.

    Args:
        path: The file.
        tokenizer_class: The published class that reads it.

    Raises:
        VocabError: The file is damaged.
    """
    data = _start(path)
    is_general = tokenizer_class in GENERAL
    if not (is_general and b'"pad_token"' in data) and (b'"direction"' not in data or re.search(LEFT, data) is None):
        return {}
    keys = read_json_object(path, limit=MOST_BYTES, values=MOST_VALUES, error=VocabError)
    sections = {name: keys[name] for name in ("padding", "truncation") if isinstance(keys.get(name), dict)}
    found = {f"{name}_side": "left" for name, section in sections.items() if section.get("direction") == "Left"}
    token = sections.get("padding", {}).get("pad_token")
    return {**found, "pad_token": token} if is_general and isinstance(token, str) else found


def _start(path: Path) -> bytes:
    """The sections of a file that begins with them, as published ones do; else all of the file."""
    with path.open("rb") as file:
        start, found, _ = file.read(START).partition(b'"added_tokens"')
    return start if found and b'"truncation"' in start and b'"padding"' in start else read_bytes(path)
