"""The sides on which a ``tokenizer.json`` pads and truncates."""

import re
from pathlib import Path

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.tokenization.vocabulary import MOST_BYTES, read_bytes

LEFT = re.compile(rb'"direction"\s*:\s*"Left"')
"""Finds a side that is not the usual one, in a fraction of the time in which the file is read as JSON."""


def sides_in(path: Path) -> dict[str, str]:
    """The options ``padding_side`` and ``truncation_side`` of a ``tokenizer.json``, where they are ``"left"``.

    Raises:
        VocabError: The file is damaged.
    """
    data = read_bytes(path)
    if b'"direction"' not in data or LEFT.search(data) is None:
        return {}
    keys = read_json_object(path, limit=MOST_BYTES, error=VocabError)
    sections = {"padding_side": keys.get("padding"), "truncation_side": keys.get("truncation")}
    return {
        option: "left"
        for option, section in sections.items()
        if isinstance(section, dict) and section.get("direction") == "Left"
    }
