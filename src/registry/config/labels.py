"""Labels of a classifier's classes: ``id2label`` and ``num_labels``."""

from collections.abc import Mapping
from types import MappingProxyType

from registry.errors import ConfigError


def labels_of(value: object) -> Mapping[int, str] | None:
    """Normalize ``id2label``; its keys are numbers, which JSON can only spell as strings."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"id2label must map numbers to labels, not be {value!r}.")
    try:
        labels = {int(number): label for number, label in value.items()}
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"id2label must have whole numbers as keys, not {list(value)[:3]!r}.") from problem
    if len(labels) < len(value):
        raise ConfigError(f"id2label names a number twice: {list(value)!r}.")
    if sorted(labels) != list(range(len(labels))) or not labels:
        raise ConfigError(f"id2label must number its labels from 0 without gaps, not {sorted(labels)[:5]!r}.")
    if not all(isinstance(label, str) for label in labels.values()):
        raise ConfigError("id2label must map numbers to labels that are texts.")
    return MappingProxyType(labels)


def numbered(labels: Mapping[int, str] | None, number: int | None) -> tuple[Mapping[int, str], int]:
    """The labels and their number, each from the other where only one is given; two labels where none is."""
    if number is None:
        number = 2 if labels is None else len(labels)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1_000_000:
        raise ConfigError(f"num_labels must be a whole number from 1 to 1,000,000, not {number!r}.")
    if labels is None:
        return MappingProxyType({i: f"LABEL_{i}" for i in range(number)}), number
    if len(labels) != number:
        raise ConfigError(f"num_labels is {number}, but id2label names {len(labels)} labels.")
    return labels, number
