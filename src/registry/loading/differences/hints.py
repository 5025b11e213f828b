"""Advice for weights that do not fit: what helps here, and what keeps trained weights before what drops them."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from registry import discovery
from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.differences.agreeing import option_of_layers, option_of_sizes, sizes_of_two_models
from registry.loading.differences.mismatch import Comparison
from registry.loading.differences.read import WITHOUT_VALUES, Flaw
from registry.loading.differences.reworked import rework_of
from registry.loading.meta import build
from registry.records import ModelSpec
from registry.weights.matching import Pair, classify, match, translate_names

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
    reworked = rework_of(name for pair in found.outcomes["unexpected"] for name in pair.stored)
    if reworked is not None:
        return reworked
    options, layers = option_of_sizes(found), option_of_layers(found)
    left = [flaw for flaw in found.flaws if flaw.sizes is not None and options is None]
    lines = [
        *(sizes_of_two_models(found) if options is None else [options]),
        *([] if layers is None else [layers]),
        *_of_ties(found),
        *_of_refused(found),
        *(_of_patterns(found) if layers is None else []),
        *_of_heads(found, left),
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


def _of_patterns(found: Comparison) -> Iterator[str]:
    missing, unexpected = found.outcomes["missing"], found.outcomes["unexpected"]
    buffers = [name for pair in missing for name in pair.names if name in found.buffers]
    if buffers:
        yield (
            f"{first_of(buffers, 2)} are buffers of {found.model}: where they are computed and not trained, the author "
            f"of the class registers them with persistent=False, and no file needs them."
        )
    if missing and any(pair.part is None for pair in found.outcomes["loaded"]):
        patterns = _patterns_of_parts(found, missing)
        yield f"If that is meant: allow_missing={patterns} newly initializes what the file lacks."
    if unexpected:
        yield f"If that is meant: allow_unexpected={_patterns_of_file(found, unexpected)} drops what the model lacks."


def _of_heads(found: Comparison, left: Collection[Flaw]) -> Iterator[str]:
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
    unexpected = [name for pair in pairs for name in pair.stored]
    kept = [name for name in found.checkpoint.tensors if name not in set(unexpected)]
    patterns: list[str] = []
    for name in unexpected:
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            whole = (f"{prefix}*" for prefix in _prefixes([name]) if not any(k.startswith(prefix) for k in kept))
            patterns.append(next(whole, name) if len(unexpected) > 1 else name)
    return _patterns(patterns, unexpected)


def _patterns(wanted: list[str], names: Collection[str]) -> list[str]:
    """The first of the patterns, each of which matches a name."""
    return [pattern for pattern in wanted if _matches(pattern, names)][:MOST_PATTERNS]


def _matches(pattern: str, names: Collection[str]) -> bool:
    if not set("*?[") & set(pattern):
        return pattern in names  # to compile a name of a megabyte as a pattern takes seconds
    return any(fnmatchcase(name, pattern) for name in names)


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
