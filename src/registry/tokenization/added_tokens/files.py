"""Files with added tokens: four of them, of several ages, which may lie next to each other.

Where flags differ, those count that transformers takes: of ``added_tokens_decoder`` in ``tokenizer_config.json``, else
of ``tokenizer.json``, else of ``added_tokens.json`` (which has none), else of objects that name special tokens.  Ids
must be the same everywhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.errors import ConfigError, RegistryError, VocabError
from registry.files.filenames import (
    ADDED_TOKENS_NAME,
    SPECIAL_TOKENS_MAP_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
)
from registry.files.strict_json import read_json_member, read_json_object
from registry.tokenization.added_tokens.token import FLAGS, AddedToken, are_added_tokens
from registry.tokenization.vocabulary import MOST_BYTES, MOST_VALUES

DECODER = "added_tokens_decoder"
"""The key of ``tokenizer_config.json`` for added tokens, by their ids."""

JsonFiles = Mapping[str, Mapping[str, Any]]
"""The objects in JSON files, by the names of these."""


def read_added_tokens(paths: Mapping[str, Path], objects: JsonFiles) -> list[AddedToken]:
    """The added tokens in the files of a tokenizer.

    Args:
        paths: The files, by their published names.
        objects: ``tokenizer_config.json`` and ``special_tokens_map.json``, as far as they are there.

    Raises:
        ConfigError: A file is damaged.
        VocabError: Two files contradict each other; the error names both.
    """
    found: dict[str, AddedToken] = {}
    origins: dict[str, str] = {}
    by_id: dict[int, tuple[str, str]] = {}  # a text, and its origin
    for origin, tokens in _sources(paths, objects):
        for token in tokens:
            token = found[token.content] = _merged(found.get(token.content), token, origin, origins)
            origins[token.content] = origin
            if token.id is not None:
                text, other = by_id.setdefault(token.id, (token.content, origin))
                if text != token.content:
                    raise VocabError(
                        f"{origin} gives the id {token.id} to the token {token.content!r}, and {other} gives it to "
                        f"{text!r}."
                    )
    return sorted(found.values(), key=lambda token: -1 if token.id is None else token.id)


def _sources(paths: Mapping[str, Path], objects: JsonFiles) -> Iterator[tuple[str, list[AddedToken]]]:
    """The tokens of each file, those first whose flags count least."""
    for name in (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_MAP_NAME):
        if name in objects:
            yield str(paths[name]), list(_special_tokens(objects[name], str(paths[name])))
    if ADDED_TOKENS_NAME in paths:
        origin = str(paths[ADDED_TOKENS_NAME])
        keys = read_json_object(paths[ADDED_TOKENS_NAME])
        yield origin, _checked([AddedToken(text, number) for text, number in keys.items()], origin, ConfigError)
    if TOKENIZER_NAME in paths:
        origin = str(paths[TOKENIZER_NAME])
        limits: Any = {"limit": MOST_BYTES, "values": MOST_VALUES}
        listed = read_json_member(paths[TOKENIZER_NAME], "added_tokens", **limits, error=VocabError) or []
        if not isinstance(listed, list) or not all(isinstance(token, dict) for token in listed):
            raise VocabError(f"{origin}: added_tokens must be a list of objects.")
        yield origin, _checked([_token(token) for token in listed], origin, VocabError)
    if TOKENIZER_CONFIG_NAME in objects:
        origin = str(paths[TOKENIZER_CONFIG_NAME])
        decoder = objects[TOKENIZER_CONFIG_NAME].get(DECODER) or {}
        if not isinstance(decoder, Mapping) or not all(isinstance(token, Mapping) for token in decoder.values()):
            raise ConfigError(f"{origin}: {DECODER} must map ids to objects with the content of a token.")
        tokens = [_token({**token, "id": _number(key)}) for key, token in decoder.items()]
        yield origin, _checked(tokens, origin, ConfigError)


def _special_tokens(keys: Mapping[str, Any], origin: str) -> Iterator[AddedToken]:
    """Special tokens that are given as objects, with flags that are not those of every special token."""
    values = [value for key, value in keys.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        values += keys[key] if isinstance(keys.get(key), list) else []
    objects = [_token({**value, "special": True, "id": None}) for value in values if _is_token(value)]
    for token in _checked(objects, origin, ConfigError):
        if token.resolved() != AddedToken(token.content, special=True).resolved():
            yield token


def _is_token(value: Any) -> bool:
    return isinstance(value, Mapping) and "content" in value


def _token(keys: Mapping[str, Any]) -> AddedToken:
    """A token, from the object that a file has for it."""
    return AddedToken(keys.get("content", ""), keys.get("id"), **{flag: keys[flag] for flag in FLAGS if flag in keys})


def _number(key: str) -> Any:
    """An id that is a key of an object, and so a string."""
    return int(key) if key.isdecimal() else key


def _checked(tokens: list[AddedToken], origin: str, error: type[RegistryError]) -> list[AddedToken]:
    for token in tokens:
        if not are_added_tokens([token]):
            raise error(
                f"{origin}: an added token must have a content, a whole number as id, and flags that are true or "
                f"false. One is {token!r:.200}."
            )
    return tokens


def _merged(known: AddedToken | None, token: AddedToken, origin: str, origins: Mapping[str, str]) -> AddedToken:
    """A token of a file, with the id that an earlier file may have given it."""
    if known is None or known.id is None:
        return token
    if token.id not in (None, known.id):
        raise VocabError(
            f"{origin} says that the token {token.content!r} has the id {token.id}; {origins[token.content]} says "
            f"{known.id}."
        )
    return token._replace(id=known.id)


def decoder_of(tokens: Iterable[AddedToken]) -> dict[str, dict[str, Any]]:
    """The ``added_tokens_decoder`` of tokens."""
    return {str(token.id): token.flags() for token in sorted(tokens, key=lambda token: token.id or 0)}
