"""Keys of a ``tokenizer_config.json``: those that are obeyed, those that are refused, and all others, which are kept.

The list is that of the tokenizers of transformers for BERT, GPT, GPT-2, Transformer-XL and Llama, and of their base.
"""

from collections.abc import Collection, Mapping
from typing import Any

from registry.errors import ConfigError

OBEYED = (
    "added_tokens_decoder",
    "additional_special_tokens",
    "chat_template",
    "extra_special_tokens",
    "max_len",
    "model_max_length",
    "model_specific_special_tokens",
    "tokenizer_class",
)
"""Keys that are read into an option of another name, or written by every tokenizer.  Options have keys of their own."""

PATHS = ("merges_file", "name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file")
"""Paths on the machine that wrote the file, which mean nothing elsewhere: they are dropped."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_bos_token": (False, None),
    "add_eos_token": (False, None),
    "clean_text": (True, None),
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": (False, None),
    "do_subword_tokenize": (True, None),
    "do_word_tokenize": (True, None),
    "dropout": (0, None),
    "fix_mistral_regex": (False, None),
    "language": ("en", None),
    "sp_model_kwargs": ({}, None),
    "subword_tokenizer_type": ("wordpiece", None),
    "word_tokenizer_type": ("basic", None),
    "wordpieces_prefix": ("##", None),
}
"""Key -> the values with which it changes nothing; any other would change ids, and is refused.

A tokenizer that has an option of this name obeys it instead.
"""


def kept_keys(keys: Mapping[str, Any], options: Collection[str], origin: str) -> dict[str, Any]:
    """The keys that are not interpreted: they are written back as they were read.

    Args:
        keys: All keys of the file.
        options: The options of the tokenizer.
        origin: The file in errors.

    Raises:
        ConfigError: A key would change ids here, and is not understood.
    """
    kept = {
        key: value
        for key, value in keys.items()
        if key not in options and key not in OBEYED and key not in PATHS and not names_special_token(key, value)
    }
    for key in kept.keys() & NEUTRAL.keys():
        if kept[key] not in NEUTRAL[key]:
            raise ConfigError(
                f"{origin}: {key} is {kept[key]!r:.80}, with which the ids would differ; that is not supported.",
                hint=f"Set {key} to {NEUTRAL[key][0]!r}, or remove it, if the model was trained without it.",
            )
    return kept


def names_special_token(key: str, value: Any) -> bool:
    """Whether a key names a special token, as those of a model with images do: ``"image_token": "<image>"``."""
    return key.endswith("_token") and isinstance(value, (str, Mapping))


def further_special_tokens(keys: Mapping[str, Any], roles: Collection[str]) -> list[Any]:
    """The special tokens beyond those in ``roles``, as they stand in a file: strings, or objects."""
    found = [value for key, value in keys.items() if key not in roles and names_special_token(key, value)]
    for key in ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"):
        value = keys.get(key)
        found += value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ()
    return found
