"""Advice for weights that do not fit: what helps here, and what keeps trained weights before what drops them."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import attrs

from registry import discovery
from registry.config.config import Config
from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.differences.mismatch import Alternatives, Comparison
from registry.loading.differences.read import WITHOUT_VALUES, Flaw
from registry.loading.differences.reworked import rework_of
from registry.loading.meta import build
from registry.records import ModelSpec
from registry.weights.matching import Pair, classify, match, translate_names

MOST_TRIES = 60
"""Models that are built, without memory, to find the options that make sizes agree."""
MOST_PATTERNS = 4

ZERO = (
    "Tensors of ZeRO-3 or FSDP are empty in the files of one process: gather them before saving "
    "(`zero_to_fp32.py` in the directory of the checkpoint, stage3_gather_16bit_weights_on_model_save, "
    "or `accelerate merge-weights`)."
)


def advice(found: Comparison) -> str | None:
    """What to do about weights that do not fit; never a pattern that matches nothing."""
    if _is_empty(found):
        return ZERO
    prefix = _prefix_too_many(found)
    if prefix is not None:
        return _without_prefix(found, prefix)
    reworked = rework_of(source.name for pair in found.outcomes["unexpected"] for source in pair.theirs.values())
    if reworked is not None:
        return reworked
    options = _options(found)
    left = [flaw for flaw in found.flaws if flaw.sizes is not None and options is None]
    lines = [
        *(_of_two_models(found) if options is None else [options]),
        *_of_ties(found),
        *_of_refused(found),
        *_of_patterns(found, left),
        *_of_values(found),
    ]
    if not (found.outcomes["loaded"] or found.outcomes["allowed_missing"]):
        return _of_strangers(found)
    return "\n".join(lines) or None


# --- Kinds ------------------------------------------------------------------------------------------------------------


def _is_empty(found: Comparison) -> bool:
    """Whether the file has names without values: of all that do not fit, it has no element, or of many a single one."""
    stored = [flaw.sizes[0] for flaw in found.flaws if flaw.sizes is not None]
    return bool(stored) and {*stored} <= {(0,), (1,)} and ((0,) in stored or len(stored) > 2)


def _prefix_too_many(found: Comparison) -> str | None:
    """A prefix without which the file has all names of the model, and no more; None where some of its names fit."""
    if any(pair.part is None for pair in found.outcomes["loaded"]):
        return None
    names = list(found.checkpoint.tensors)
    for prefix, count in Counter(_prefixes(names)).most_common():
        if 2 * count <= len(names):
            return None
        inner = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        with suppress(WeightsMismatchError):  # two names become one without it
            sources = translate_names(inner, found.checkpoint.names, found.layout).sources
            outcomes = classify(match(found.names, [], sources, found.layout))
            if outcomes["loaded"] and not outcomes["missing"] and not outcomes["unexpected"]:
                return prefix
    return None


def _prefixes(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:end]) + "." for end in range(1, len(parts)))


def _without_prefix(found: Comparison, prefix: str) -> str:
    others = [name for name in found.checkpoint.tensors if not name.startswith(prefix)]
    also = f" (the file also has {first_of(others, 3)})" if others else ""
    return (
        f"All names fit without {prefix!r}{also}. Take it off: from_pretrained(..., state_dict={{name.removeprefix("
        f"{prefix!r}): tensor for name, tensor in state_dict.items() if name.startswith({prefix!r})}})."
    )


def _of_ties(found: Comparison) -> Iterator[str]:
    twins = [flaw for flaw in found.flaws if flaw.twin is not None]
    if twins:
        pair = next(
            pair for pair in found.outcomes["loaded"] if twins[0].name in [s.name for s in pair.theirs.values()]
        )
        of_head = [s.name for full, s in pair.theirs.items() if found.layout.part_of(full) is not None]
        drop = of_head[0] if of_head else twins[0].twin
        yield (
            f"{found.model} has one tensor where the file has two: allow_unexpected=[{drop!r}] drops that one. A class "
            "that needs only the other, such as the base model, loads as it is."
        )


def _of_refused(found: Comparison) -> Iterator[str]:
    if not found.refused:
        return
    patterns = _patterns_of_parts(found, found.refused)
    yield (
        f"The checkpoint chose {found.model}, since no task or class was named. If new parts are meant, name the task "
        f"or the class, or pass allow_missing={patterns}."
    )
    tasks: list[str] = []
    with suppress(Exception):  # a third party's code must not hide the error that this decorates
        tasks = [] if found.alternatives is None else found.alternatives.tasks()
    if tasks:
        yield f"The file has all weights for {' and '.join(f'task={task!r}' for task in tasks[:3])}."


def _of_patterns(found: Comparison, left: Collection[Flaw]) -> Iterator[str]:
    missing, unexpected = found.outcomes["missing"], found.outcomes["unexpected"]
    if missing and any(pair.part is None for pair in found.outcomes["loaded"]):
        patterns = _patterns_of_parts(found, missing)
        yield f"If that is meant: allow_missing={patterns} newly initializes what the file lacks."
    if unexpected:
        yield f"If that is meant: allow_unexpected={_patterns_of_file(found, unexpected)} drops what the model lacks."
    heads = [flaw for flaw in left if flaw.part is not None]
    if heads:
        patterns = _patterns(sorted({_part(found, flaw.part or "") for flaw in heads}), found.names)
        yield f"allow_missing={patterns} drops those tensors of the file that do not fit, and newly initializes them."


def _of_values(found: Comparison) -> Iterator[str]:
    if any(flaw.reason == WITHOUT_VALUES for flaw in found.flaws):
        yield "Give dense tensors with values: tensor.to_dense(), tensor.dequantize(), none on the meta device."


def _of_strangers(found: Comparison) -> str:
    wanted = [pair.names[0] for pair in (*found.outcomes["missing"], *found.outcomes["new"])]
    names = found.checkpoint.tensors
    sides = f"the file has {first_of(names, 3)}; the model has {first_of(wanted, 3)}"
    return f"No name is common to both: {sides}.{_similar_model(names)}"


# --- Patterns ---------------------------------------------------------------------------------------------------------


def _part(found: Comparison, part: str) -> str:
    return f"{found.layout.as_in(found.names, part)}*"


def _patterns_of_parts(found: Comparison, pairs: Iterable[Pair]) -> list[str]:
    """Patterns for tensors of the model: of a part, the part; of the backbone, the names."""
    wanted = [pair.names[0] if pair.part is None else _part(found, pair.part) for pair in pairs]
    return _patterns(list(dict.fromkeys(wanted)), found.names)


def _patterns_of_file(found: Comparison, pairs: Iterable[Pair]) -> list[str]:
    """Patterns for names in the file: the directories of names which are unexpected as a whole, else the names."""
    unexpected = [source.name for pair in pairs for source in pair.theirs.values()]
    kept = [name for name in found.checkpoint.tensors if name not in set(unexpected)]
    patterns: list[str] = []
    for name in unexpected:
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            whole = (f"{prefix}*" for prefix in _prefixes([name]) if not any(k.startswith(prefix) for k in kept))
            patterns.append(next(whole, name) if len(unexpected) > 1 else name)
    return _patterns(patterns, unexpected)


def _patterns(wanted: list[str], names: Collection[str]) -> list[str]:
    """The first of the patterns, each of which matches a name."""
    return [pattern for pattern in wanted if any(fnmatchcase(name, pattern) for name in names)][:MOST_PATTERNS]


# --- Options ----------------------------------------------------------------------------------------------------------


def _options(found: Comparison) -> str | None:
    """The options that make all sizes agree; None where there are none."""
    flaws = {flaw.name: flaw.sizes for flaw in found.flaws if flaw.sizes is not None}
    if not flaws or found.alternatives is None:
        return None
    values = _agreeing(found.alternatives, flaws, found.shapes)
    if not values:
        return None
    named = ", ".join(f"{key}={value}" for key, value in values.items())
    return (
        f"{named} makes the sizes agree, and all weights of the file are kept: pass it, or correct the configuration."
    )


def _agreeing(
    alternatives: Alternatives,
    flaws: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, int] | None:
    """Values of options with which the model has the shapes of the file; each is tried by building the model."""
    values: dict[str, int] = {}
    count = len(flaws)
    for key, value in _candidates(alternatives.config, flaws.values())[:MOST_TRIES]:
        left = _disagreeing(alternatives, {**values, key: value}, shapes)
        if left is not None and len(left) < count:
            values[key], count = value, len(left)
        if count == 0:
            return values
    return None


def _of_two_models(found: Comparison) -> Iterator[str]:
    """The option with which all sizes agree that did not, and others do not: the file contradicts itself."""
    flaws = {flaw.name: flaw.sizes for flaw in found.flaws if flaw.sizes is not None}
    if not flaws or found.alternatives is None:
        return
    for key, value in _candidates(found.alternatives.config, flaws.values())[:MOST_TRIES]:
        left = _disagreeing(found.alternatives, {key: value}, found.shapes)
        if left and not flaws.keys() & set(left):
            now = getattr(found.alternatives.config, key)
            yield (
                f"{key}={value} makes the size of {first_of(flaws, 2)} agree, and only {key}={now} that of "
                f"{first_of(left, 2)}: the file has tensors of two models, which no option makes one."
            )
            return


def _candidates(config: Config, sizes: Iterable[tuple[Any, Any]]) -> list[tuple[str, int]]:
    """Options that have the size of the model, each with the size of the file."""
    fields = {field.name: getattr(config, field.name) for field in attrs.fields(type(config))}
    found = [
        (key, there)
        for stored, wanted in sizes
        if len(stored) == len(wanted)
        for there, here in zip(stored, wanted, strict=True)
        if there != here
        for key, value in fields.items()
        if type(value) is int and value == here
    ]
    return list(dict.fromkeys(found))


def _disagreeing(
    alternatives: Alternatives, values: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]
) -> list[str] | None:
    """The tensors whose shapes differ from ``shapes`` with these options; None where the options are refused."""
    try:
        made = alternatives.remake(values).state_dict()
    except Exception:  # noqa: BLE001  # a constructor may refuse the options in its own way
        return None
    return [name for name, shape in shapes.items() if name in made and tuple(made[name].shape) != tuple(shape)]


# --- Other architectures ----------------------------------------------------------------------------------------------


def _similar_model(names: Collection[str]) -> str:
    """A sentence on the model whose names are most similar to ``names``, of those whose code is imported already."""
    best, sentence = 0.5, ""
    for spec in discovery.every(ModelSpec):
        if spec.cls.target.partition(":")[0] not in sys.modules:
            continue
        try:
            share = _overlap(names, spec.cls.load())
        except Exception:  # noqa: BLE001, S112  # a third party's code must not hide the error that this decorates
            continue
        if share > best:
            best = share
            sentence = f" Those of the file are like {spec.cls.name}'s, of the architecture {spec.architecture!r}."
    return sentence


def _overlap(names: Collection[str], cls: Any) -> float:
    """The share of ``names`` that a model of default size has."""
    model = build(lambda: cls(cls.config_class()))
    sources = translate_names(names, None, model.layout).sources
    pairs = match(model.state_dict().keys(), [], sources, model.layout)
    return sum(len(pair.theirs) for pair in pairs if pair.ours) / max(len(names), 1)
