"""Which of the files on a server make up a model."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.discovery.filenames import config_names, tokenizer_names, vocabulary_names
from registry.errors import CorruptWeightsError
from registry.files.filenames import (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    SAFE_WEIGHTS_NAME,
    SENTENCE_CONFIG_NAME,
    SENTENCE_MODULES_NAME,
    SENTENCE_TOKENS_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    WEIGHTS_NAMES,
)
from registry.files.strict_json import MEBIBYTE, read_json_array, read_json_object
from registry.sources.source import Roles

Find = Callable[[str], Path | None]
"""The file of this name, or None where there is none."""


def choose(find: Find, roles: Roles, *, other_weights: Iterable[str] = ()) -> dict[str, Path]:
    """The files that play one of these roles, as ``find`` finds them.

    Every role but ``config`` and ``weights`` counts as one of the tokenizer, all of whose files are then given.

    Args:
        find: Finds a file by its name.
        roles: The roles that are asked for; None for all.
        other_weights: Names of weights in formats of several files, for a model without any in the preferred formats.
    """
    found: dict[str, Path] = {}
    if roles is None or "config" in roles:
        found |= _first(find, config_names())
    if roles is None or "weights" in roles:
        found |= _weights(find) or _all(find, other_weights)
        found |= _all(find, [GENERATION_CONFIG_NAME])
    if roles is None or set(roles) - {"config", "weights"}:
        found |= _all(find, tokenizer_names())
    if roles is None:
        found |= _all(find, (SENTENCE_MODULES_NAME, SENTENCE_CONFIG_NAME, SENTENCE_TOKENS_NAME))
        found |= _all(find, _of_modules(found.get(SENTENCE_MODULES_NAME)))
    return found


def suffices(names: frozenset[str], roles: Roles) -> bool:
    """Whether files of these names are enough for the roles."""
    wanted = {"config", "weights", "vocab"} if roles is None else set(roles)
    options = {
        "config": config_names(),
        "weights": [name for pair in WEIGHTS_NAMES for name in pair],
        "vocab": [TOKENIZER_NAME, *vocabulary_names()],
    }
    return all(not names.isdisjoint(options[role]) for role in wanted & options.keys())


def _weights(find: Find) -> dict[str, Path]:
    for single, index in WEIGHTS_NAMES:
        if (path := find(single)) is not None:
            return {single: path}
        if (path := find(index)) is not None:
            return {index: path, **_all(find, _shards(path))}
    return {}


def _shards(index: Path) -> Iterator[str]:
    """The plain names in an index of weights; whether it is right is checked when the weights are read."""
    where = read_json_object(index, limit=16 * MEBIBYTE, error=CorruptWeightsError).get("weight_map")
    names = dict.fromkeys(where.values() if isinstance(where, dict) else ())
    return (name for name in names if isinstance(name, str) and re.fullmatch(r"[\w-][\w.-]*", name))


def _of_modules(listing: Path | None) -> Iterator[str]:
    """The names of the files of modules of sentence-transformers, which are checked when vectors are asked for."""
    modules = [] if listing is None else read_json_array(listing)
    paths = [module.get("path") for module in modules if isinstance(module, dict)]
    for path in dict.fromkeys(paths):
        if isinstance(path, str) and re.fullmatch(r"[\w-][\w.-]*", path):
            yield from (f"{path}/{name}" for name in (CONFIG_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_NAME))


def _all(find: Find, names: Iterable[str]) -> dict[str, Path]:
    return {name: path for name in dict.fromkeys(names) if (path := find(name)) is not None}


def _first(find: Find, names: Iterable[str]) -> dict[str, Path]:
    return next(({name: path} for name in names if (path := find(name)) is not None), {})
