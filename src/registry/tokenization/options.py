"""Options of tokenizers: the values that they may have, and the files in which they stand.

Options that belong to the weights, such as casing, travel with them in ``tokenizer_config.json``, under the keys of
transformers.  Older directories spread them over ``special_tokens_map.json`` and ``added_tokens.json`` as well.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from registry.errors import ArchitectureMismatchError, ConfigError, VocabError
from registry.files.filenames import (
    CHAT_TEMPLATE_NAME,
    SPECIAL_TOKENS_MAP_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
)
from registry.files.strict_json import read_json_object
from registry.tokenization.added_tokens.files import DECODER, decoder_of, read_added_tokens
from registry.tokenization.added_tokens.token import are_added_tokens
from registry.tokenization.published.keys import further_special_tokens, kept_keys
from registry.tokenization.published.sections import options_in
from registry.tokenization.published.templates import as_files, templates_by_name, with_files

if TYPE_CHECKING:
    from registry.tokenization.added_tokens.token import AddedToken

SPECIAL_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token")
"""Options that name a special token; a tokenizer may lack any of them."""
PUBLISHED = {"max_len": "model_max_length", "additional_special_tokens": "extra_special_tokens"}
"""Options whose key in a file is another word."""
UNLIMITED = 10**9
"""A ``model_max_length`` from here on means that there is no limit; transformers writes 10^30."""


# --- Values -----------------------------------------------------------------------------------------------------------


class CommonOptions(TypedDict, total=False):
    """The keywords of ``COMMON`` for type checkers, which find misspelled ones; a tokenizer has ``max_len`` itself."""

    unk_token: str | None
    sep_token: str | None
    pad_token: str | None
    cls_token: str | None
    mask_token: str | None
    bos_token: str | None
    eos_token: str | None
    additional_special_tokens: Iterable[str]
    added_tokens: "Mapping[str, int | AddedToken] | Iterable[AddedToken]"
    split_special_tokens: bool
    padding_side: str
    truncation_side: str
    model_input_names: Sequence[str]
    clean_up_tokenization_spaces: bool | None
    chat_template: str | Mapping[str, str] | None
    extra: Mapping[str, Any]


class Option(NamedTuple):
    """The values that an option may have, as text and as a test."""

    allowed: str
    accepts: Callable[[Any], bool]


def _is_length(value: object) -> bool:
    return value is None or (type(value) is int and value > 0)


def _is_words(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(type(word) is str for word in value)


FLAG = Option("true or false", lambda value: type(value) is bool)
OPTIONAL_FLAG = Option("true, false or null", lambda value: value is None or type(value) is bool)
LENGTH = Option("a whole number above 0, or null", _is_length)
TOKEN = Option("a token, or null", lambda value: value is None or (type(value) is str and value != ""))
WORDS = Option("a list of words", _is_words)
OPTIONAL_WORDS = Option("a list of words, or null", lambda value: value is None or _is_words(value))
SIDE = Option("right or left", lambda value: value in ("right", "left"))
INPUTS = Option(
    "input_ids, and some of token_type_ids and attention_mask",
    lambda value: _is_words(value) and {"input_ids"} <= {*value} <= {"input_ids", "token_type_ids", "attention_mask"},
)
KEYS = Option("a mapping from keys to what JSON can hold", lambda value: isinstance(value, Mapping))
TEMPLATE = Option(
    "a template, or templates by their names, or null",
    lambda value: value is None or type(value) is str or (isinstance(value, Mapping) and _is_words([*value.values()])),
)
ADDED_TOKENS = Option("a mapping from tokens to their ids, or a list of AddedToken", are_added_tokens)


COMMON: Mapping[str, Option] = {
    **dict.fromkeys(SPECIAL_TOKENS, TOKEN),
    "additional_special_tokens": WORDS,
    "added_tokens": ADDED_TOKENS,
    "split_special_tokens": FLAG,
    "max_len": LENGTH,
    "padding_side": SIDE,
    "truncation_side": SIDE,
    "model_input_names": INPUTS,
    "clean_up_tokenization_spaces": OPTIONAL_FLAG,
    "chat_template": TEMPLATE,
    "extra": KEYS,
}
"""Options of every tokenizer."""

LIVE = frozenset(
    {
        "max_len", "padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces",
        "chat_template", "extra", "split_special_tokens", "add_bos_token", "add_eos_token",
    }
)  # fmt: skip
"""Options that are looked at in each call, so that setting one is enough."""


def fixed(value: Any) -> Any:
    """The value of an option as it is kept: nothing that could be changed behind the tokenizer's back."""
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def check(value: Any, name: str, option: Option, *, origin: str = "") -> None:
    """Raise ConfigError when an option has a value that it cannot have."""
    if not option.accepts(value):
        raise ConfigError(f"{origin}{name} must be {option.allowed}, not {value!r:.80}.")


def refuse_unknown(names: Iterable[str], known: Mapping[str, Option], owner: str) -> None:
    """Raise UnknownOptionError for the first of ``names`` that is not an option of ``owner``."""
    for name in names:
        if name not in known:
            from registry.config.keywords import unknown_keyword  # and with it attrs, which tokenizers do without

            hint = f"Its options are: {', '.join(known)}."
            raise unknown_keyword(name, f"{owner} has no option {name!r}.", known, hint)


# --- Files ------------------------------------------------------------------------------------------------------------


def read_options(
    paths: Mapping[str, Path],
    known: Mapping[str, Option],
    classes: Sequence[str],
) -> dict[str, Any]:
    """The options that files set.

    Args:
        paths: The files, by their published names.
        known: The options of the tokenizer; other keys are ignored.
        classes: Published names of tokenizers whose files these may be.

    Raises:
        ArchitectureMismatchError: The files are for a tokenizer that is none of ``classes``.
        ConfigError: A file is damaged, or a value impossible.
        VocabError: Two files contradict each other.
    """
    found: dict[str, Any] = {}
    objects: dict[str, Mapping[str, Any]] = {}
    tokenizer_class = None
    for filename in (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_MAP_NAME):
        if filename in paths:
            origin = str(paths[filename])
            keys = objects[filename] = read_json_object(paths[filename])
            options = _of_config(keys, origin)
            if options.get("tokenizer_class") not in (None, *classes):
                raise ArchitectureMismatchError(
                    f"{origin} is for a {options['tokenizer_class']}, which may split text differently.",
                    hint=f"Supported are: {', '.join(classes)}.",
                )
            tokenizer_class = options.get("tokenizer_class", tokenizer_class)
            for name in options.keys() & known.keys() - {"extra"}:
                published = PUBLISHED.get(name, name)
                check(options[name], published if published in keys else name, known[name], origin=f"{origin}: ")
                if name == "additional_special_tokens":
                    options[name] = found[name] = _distinct([*found.get(name, ()), *options[name]])
                _merge(found, name, options[name], origin)
            if filename == TOKENIZER_CONFIG_NAME and (kept := kept_keys(keys, known.keys() - {"extra"}, origin)):
                found["extra"] = kept
    added = read_added_tokens(paths, objects)
    if added:
        found["added_tokens"] = added
    if TOKENIZER_NAME in paths:
        found = {**options_in(paths[TOKENIZER_NAME], tokenizer_class), **found}
    if CHAT_TEMPLATE_NAME in paths:
        found["chat_template"] = with_files(found.get("chat_template"), paths[CHAT_TEMPLATE_NAME])
    return found


def _merge(found: dict[str, Any], name: str, value: Any, origin: str) -> None:
    """Add an option to those of earlier files, which must say the same."""
    if found.setdefault(name, value) != value:
        raise VocabError(f"{origin} says that {name} is {value!r:.80}; another file says {found[name]!r:.80}.")


def _of_config(keys: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The options in a ``tokenizer_config.json`` or ``special_tokens_map.json``, by the names that they have here."""
    found = {key: _spelling(value) for key, value in keys.items()}
    if "model_max_length" in found:
        found["max_len"] = _limit(found.pop("model_max_length"))
    further = further_special_tokens(keys, SPECIAL_TOKENS)
    if further or any(isinstance(keys.get(key), list) for key in ("additional_special_tokens", "extra_special_tokens")):
        found["additional_special_tokens"] = _distinct(map(_spelling, further))
    if isinstance(keys.get("chat_template"), list):
        found["chat_template"] = templates_by_name(keys["chat_template"], origin)
    return found


def _distinct(tokens: Iterable[Any]) -> list[Any]:
    """The tokens, each once; what is not text, and so no token, stays to be refused."""
    texts = list(tokens)
    return list(dict.fromkeys(texts)) if all(isinstance(text, str) for text in texts) else texts


def _spelling(token: Any) -> Any:
    """A special token is published as a string, or as an object with its ``content``."""
    return token["content"] if isinstance(token, Mapping) and "content" in token else token


def _limit(length: Any) -> Any:
    if isinstance(length, (int, float)) and length >= UNLIMITED:
        return None
    return int(length) if isinstance(length, float) and length.is_integer() else length


def as_text(options: Mapping[str, Any], tokenizer_class: str) -> str:
    """The text of a ``tokenizer_config.json`` with these options, which transformers reads as well."""
    keys: dict[str, Any] = {"tokenizer_class": tokenizer_class}
    for name, value in options.items():
        if name == "chat_template":
            keys[name] = as_files(value)[1]
        elif name == "added_tokens":
            keys[DECODER] = decoder_of(value.values())
        elif name != "extra":
            keys[PUBLISHED.get(name, name)] = list(value) if isinstance(value, tuple) else value
    known = {key: value for key, value in keys.items() if value not in (None, [], {})}
    return json.dumps({**(options.get("extra") or {}), **known}, indent=2, sort_keys=True) + "\n"
