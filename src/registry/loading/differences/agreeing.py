"""Options with which a model and the weights in a file agree: in their sizes, in the number of layers.

Each is tried by building the model, without memory.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from registry.config.config import Config
from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.differences.mismatch import Comparison
from registry.loading.options import Alternatives
from registry.weights.matching import classify, match, translate_names

MOST_TRIES = 60
"""Models that are built."""
KEPT = "and all weights of the file are kept: pass it, or correct the configuration."

# --- Sizes ------------------------------------------------------------------------------------------------------------


def option_of_sizes(found: Comparison) -> str | None:
    """The options that make all sizes agree; None where there are none."""
    flaws = {flaw.name: flaw.sizes for flaw in found.flaws if flaw.sizes is not None}
    if not flaws or found.alternatives is None:
        return None
    values = _agreeing(found, found.alternatives, flaws)
    if not values:
        return None
    named = ", ".join(f"{key}={value}" for key, value in values.items())
    return f"{named} makes the sizes agree, {KEPT}"


def _agreeing(
    found: Comparison,
    alternatives: Alternatives,
    flaws: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> dict[str, int] | None:
    """Values of options with which the model has the shapes of the file; each is tried by building the model."""
    values: dict[str, int] = {}
    count = len(flaws)
    for key, value in _candidates(alternatives.config, flaws.values())[:MOST_TRIES]:
        left = _disagreeing(found, alternatives, {**values, key: value})
        if left is not None and len(left) < count:
            values[key], count = value, len(left)
        if count == 0:
            return values
    return None


def sizes_of_two_models(found: Comparison) -> Iterator[str]:
    """The option with which all sizes agree that did not, and others do not: the file contradicts itself."""
    flaws = {flaw.name: flaw.sizes for flaw in found.flaws if flaw.sizes is not None}
    if not flaws or found.alternatives is None:
        return
    for key, value in _candidates(found.alternatives.config, flaws.values())[:MOST_TRIES]:
        left = _disagreeing(found, found.alternatives, {key: value})
        if left and not flaws.keys() & set(left):
            now = getattr(found.alternatives.config, key)
            yield (
                f"{key}={value} makes the size of {first_of(flaws, 2)} agree, and only {key}={now} that of "
                f"{first_of(left, 2)}: the file has tensors of two models, which no option makes one."
            )
            return


def _candidates(config: Config, sizes: Iterable[tuple[Any, Any]]) -> list[tuple[str, int]]:
    """Options that have the size of the model, each with the size of the file; then those that are a part of it."""
    differing = [
        (here, there)
        for stored, wanted in sizes
        if len(stored) == len(wanted)
        for there, here in zip(stored, wanted, strict=True)
        if there != here
    ]
    numbers = _numbers(config)
    equal = [(key, there) for here, there in differing for key, value in numbers.items() if value == here]
    parts = [(key, value + there - here) for here, there in differing for key, value in numbers.items() if value < here]
    return list(dict.fromkeys([*equal, *((key, value) for key, value in parts if value >= 0)]))


def _numbers(config: Config) -> dict[str, int]:
    """The fields of a configuration that are whole numbers."""
    fields = {field.name: getattr(config, field.name) for field in attrs.fields(type(config))}
    return {key: value for key, value in fields.items() if type(value) is int}


def _disagreeing(found: Comparison, alternatives: Alternatives, values: Mapping[str, int]) -> list[str] | None:
    """The tensors whose shapes in the file differ with these options; None where the options are refused."""
    try:
        model = alternatives.remake(values)
        made = model.state_dict()
        layout = getattr(model, "layout", found.layout)
        sources = translate_names(found.checkpoint.tensors, found.checkpoint.names, layout).sources
    except Exception:  # noqa: BLE001  # a constructor may refuse the options in its own way
        return None
    shapes = dict(found.shapes)
    for name, full in layout.in_full(list(made)).items():
        if name not in shapes and full in sources:  # of modules that the model has only with these options
            shapes[name] = getattr(sources[full].read(found.checkpoint.tensors), "shape", ())
    return [name for name, shape in shapes.items() if name in made and tuple(made[name].shape) != tuple(shape)]


# --- Layers -----------------------------------------------------------------------------------------------------------


def option_of_layers(found: Comparison) -> str | None:
    """The option with which the model has as many layers as the file; None where something else differs."""
    if found.alternatives is None or not (found.outcomes["missing"] or found.outcomes["unexpected"]):
        return None
    pairs = [pair for pairs in found.outcomes.values() for pair in pairs]
    here = _counts(name for pair in pairs for name in pair.ours)
    there = _counts(name for pair in pairs for name in pair.theirs)
    unfit = {flaw.name for flaw in found.flaws}
    changes = {(here[prefix], there[prefix]) for prefix in here.keys() & there.keys()}
    for key, value in _numbers(found.alternatives.config).items():
        for number in [after for before, after in changes if before == value != after]:
            sizes = _disagreeing(found, found.alternatives, {key: number}) or []
            if _has_all_names(found, found.alternatives, {key: number}) and unfit.issuperset(sizes):
                return f"{key}={number} makes the numbers of layers agree, {KEPT}"
    return None


def _counts(names: Iterable[str]) -> dict[str, int]:
    """How many modules are numbered behind each prefix: ``bert.encoder.layer.`` -> 12."""
    counts: dict[str, int] = {}
    for name in names:
        for number in _NUMBER.finditer(name):
            prefix = name[: number.start()]
            counts[prefix] = max(counts.get(prefix, 0), int(number[0]) + 1)
    return counts


_NUMBER = re.compile(r"(?<=\.)\d{1,6}(?=\.)")


def _has_all_names(found: Comparison, alternatives: Alternatives, values: Mapping[str, int]) -> bool:
    """Whether a model with other options misses nothing in the file, and has all that the file holds."""
    try:
        model = alternatives.remake(values)
    except Exception:  # noqa: BLE001  # a constructor may refuse the options in its own way
        return False
    layout = getattr(model, "layout", found.layout)
    with suppress(WeightsMismatchError):
        sources = translate_names(found.checkpoint.tensors, found.checkpoint.names, layout).sources
        outcomes = classify(match(model.state_dict().keys(), [], sources, layout))
        return not (outcomes["missing"] or outcomes["unexpected"])
    return False
