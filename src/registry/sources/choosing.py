"""Which of the files on a server make up a model."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from attrs import evolve

from registry.discovery.filenames import config_names, tokenizer_names, vocabulary_names, weight_names
from registry.download.policy import Policy
from registry.errors import CacheCorruptError, CorruptWeightsError, NotCachedError
from registry.files.filenames import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_WEIGHTS_NAMES,
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
from registry.files.strict_json import INDEX_VALUES, LARGEST_INDEX, read_json_array, read_json_object
from registry.records import Paths
from registry.sources.source import Roles

Find: TypeAlias = Callable[[str, Policy], Path | None]
"""The file of this name, or None where there is none."""
Named: TypeAlias = Callable[[str], Path | None]
"""The same under one policy."""
Several: TypeAlias = Callable[[Sequence[Callable[[], Path | None]]], list[Path | None]]
"""How several files are looked for: one after another, or together."""
Part: TypeAlias = Callable[[Named, Several], Paths]
"""Some of the files, which depend on no other part."""


def choose(find: Find, roles: Roles, policy: Policy, *, other_weights: Iterable[str] = ()) -> dict[str, Path]:
    """The files that play one of these roles, as ``find`` finds them; several are fetched at once.

    Every role but ``config`` and ``weights`` counts as one of the tokenizer, all of whose files are then given.

    Args:
        find: Finds a file by its name.
        roles: The roles that are asked for; None for all.
        policy: How files are fetched.
        other_weights: Names of weights in formats of several files, for a model without any in the preferred formats.
    """
    parts: list[Part] = []
    if roles is None or "config" in roles:
        parts.append(partial(_first, config_names()))
    if roles is None or "weights" in roles:
        weights = partial(_weights, tuple(other_weights))
        parts += [
            partial(_or_adapter, weights) if roles is None else weights,
            partial(_first, [GENERATION_CONFIG_NAME]),
        ]
    if roles is None or set(roles) - {"config", "weights"}:
        parts += [partial(_first, [name]) for name in tokenizer_names()]
    if roles is None:
        parts += [_modules, *(partial(_first, [name]) for name in (SENTENCE_CONFIG_NAME, SENTENCE_TOKENS_NAME))]
    return {name: path for part in _found(parts, find, policy) for name, path in part.items()}


def _found(parts: Sequence[Part], find: Find, policy: Policy) -> list[Paths]:
    """The files of all parts: those that are here first, in this thread, and then the others."""
    found: dict[int, Paths] = {}
    if not policy.update:
        here = evolve(policy, offline=True)
        for number, part in enumerate(parts):
            with suppress(NotCachedError, CacheCorruptError):
                found[number] = part(lambda name: find(name, here), _one_by_one)
    rest = [number for number in range(len(parts)) if number not in found]
    if rest:
        from registry.download.together import together  # not needed for what is here

        fetched = together([partial(parts[number], lambda name: find(name, policy), together) for number in rest])
        found |= dict(zip(rest, fetched, strict=True))
    return [found[number] for number in range(len(parts))]


def _one_by_one(jobs: Sequence[Callable[[], Path | None]]) -> list[Path | None]:
    return [job() for job in jobs]


def candidates(roles: Roles) -> list[str]:
    """Names of files that may play one of these roles, without those that other files list."""
    found: list[str] = []
    if roles is None or "config" in roles:
        found += config_names()
    if roles is None or "weights" in roles:
        found += [name for pair in WEIGHTS_NAMES for name in pair]
    if roles is None or set(roles) - {"config", "weights"}:
        found += tokenizer_names()
    return found


def suffices(names: frozenset[str], roles: Roles) -> bool:
    """Whether files of these names are enough for the roles."""
    wanted = {"config", "weights", "vocab"} if roles is None else set(roles)
    options = {
        "config": config_names(),
        "weights": [*(name for pair in WEIGHTS_NAMES for name in pair), *weight_names()],
        "vocab": [TOKENIZER_NAME, *vocabulary_names()],
    }
    return all(not names.isdisjoint(options[role]) for role in wanted & options.keys())


def _weights(others: Iterable[str], find: Named, several: Several) -> Paths:
    for single, index in WEIGHTS_NAMES:
        if (path := find(single)) is not None:
            return {single: path}
        if (path := find(index)) is not None:
            return {index: path, **_all(_shards(path), find, several)}
    return _all(others, find, several)


def _or_adapter(weights: Part, find: Named, several: Several) -> Paths:
    """The weights or, where there are none, the files of an adapter of PEFT."""
    found = weights(find, several)
    if found or (config := find(ADAPTER_CONFIG_NAME)) is None:
        return found
    return {ADAPTER_CONFIG_NAME: config, **_first(ADAPTER_WEIGHTS_NAMES, find, several)}


def _shards(index: Path) -> Iterator[str]:
    """The plain names in an index of weights; whether it is right is checked when the weights are read."""
    where = _weight_map(index)
    names = [name for name in where.values() if isinstance(name, str)] if isinstance(where, dict) else []
    return (name for name in dict.fromkeys(names) if re.fullmatch(r"[\w-][\w.-]*", name))


def _weight_map(index: Path) -> Any:
    keys = read_json_object(index, limit=LARGEST_INDEX, values=INDEX_VALUES, error=CorruptWeightsError)
    return keys.get("weight_map")


def _modules(find: Named, several: Several) -> Paths:
    """The modules of sentence-transformers, and their files, which are checked when vectors are asked for."""
    listing = find(SENTENCE_MODULES_NAME)
    if listing is None:
        return {}
    return {SENTENCE_MODULES_NAME: listing, **_all(_of_modules(listing), find, several)}


def _of_modules(listing: Path) -> Iterator[str]:
    """The names of the files of modules of sentence-transformers."""
    paths = [module.get("path") for module in read_json_array(listing) if isinstance(module, dict)]
    for path in dict.fromkeys(path for path in paths if isinstance(path, str)):
        if re.fullmatch(r"[\w-][\w.-]*", path):
            yield from (f"{path}/{name}" for name in (CONFIG_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_NAME))


def _all(names: Iterable[str], find: Named, several: Several) -> Paths:
    unique = list(dict.fromkeys(names))
    paths = several([partial(find, name) for name in unique])
    return {name: path for name, path in zip(unique, paths, strict=True) if path is not None}


def _first(names: Iterable[str], find: Named, _several: Several) -> Paths:
    return next(({name: path} for name in names if (path := find(name)) is not None), {})
