"""``tokenizer.json``, the one file of a tokenizer which transformers 5 writes.

It describes a tokenizer as a pipeline of parts.  A plugin states which values of which part its tokenizer was made
for; a file that says anything else would be read as a different tokenizer, and is refused.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.tokenization.options import ADDED_TOKEN_FLAGS, ids_of_added_tokens
from registry.tokenization.vocabulary import MOST_BYTES


def read_tokenizer_json(
    path: Path, understood: Mapping[str, Mapping[str, Any] | None], refused_flags: Sequence[str] = ADDED_TOKEN_FLAGS
) -> dict[str, Any]:
    """The keys of a ``tokenizer.json``.

    Args:
        path: The file.
        understood: Keys of parts, and the value that each must have where it is set; a tuple of values that mean the
            same, or None for a part that must be absent.
        refused_flags: Flags that no added token may have.

    Returns:
        The keys, with ``added_tokens`` as a mapping from tokens to ids, and the special ones among them, a list, as
        ``special_tokens``.

    Raises:
        VocabError: A part is not as it must be; the error names the file and the key.
    """
    keys = read_json_object(path, limit=MOST_BYTES, error=VocabError)
    for name, expected in understood.items():
        part = keys.get(name)
        if expected is None and part is None:
            continue
        if expected is None or not isinstance(part, dict):
            needed = "none" if expected is None else f"a {expected['type']}"
            raise VocabError(f"{path}: {name} is {part!r:.80}, where {needed} is needed.")
        for key, value in expected.items():
            values = value if isinstance(value, tuple) else (value,)
            if part.get(key, values[0]) not in values:
                raise VocabError(
                    f"{path}: {name}.{key} is {part[key]!r:.80}; only {values[0]!r} is understood here.",
                    hint="Reading on would cut text otherwise than the tokenizer which the model was trained with.",
                )
    if not isinstance(keys["model"].get("vocab"), dict):
        raise VocabError(f"{path}: model.vocab must map tokens to their ids.")
    added = keys.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise VocabError(f"{path}: added_tokens must be a list of objects.")
    if keys.get("normalizer") is None:
        refused_flags = [flag for flag in refused_flags if flag != "normalized"]  # which has no meaning then
    return {
        **keys,
        "added_tokens": ids_of_added_tokens(added, str(path), refused_flags),
        "special_tokens": [token.get("content") for token in added if token.get("special")],
    }


def tokenizer_json(parts: Mapping[str, Any], added: Mapping[str, int], special: Collection[str]) -> str:
    """The text of a ``tokenizer.json`` of these ``parts``; ``added`` tokens are recognized as they stand."""
    flags = dict.fromkeys(ADDED_TOKEN_FLAGS, False)
    tokens = [
        {"id": number, "content": token, **flags, "special": token in special}
        for token, number in sorted(added.items(), key=lambda item: item[1])
    ]
    keys = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, **parts}
    return json.dumps(keys, ensure_ascii=False)
