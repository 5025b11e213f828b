"""Labels of a classifier's classes: ``id2label`` and ``num_labels``, which contradict each other in some files."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from registry.errors import ConfigError, warn
from registry.formatting import first_of

KEYS = ("id2label", "num_labels", "label2id")
"""The keys in which files describe labels; those of 2019 have ``_num_labels`` as well."""

MOST = 1_000_000
"""Labels of a model at most."""


def labels_of(value: object) -> Mapping[int, str] | None:
    """Normalize ``id2label``; its keys are numbers, which JSON can only spell as strings."""
    labels = labels_in(value)
    if labels is not None and (sorted(labels) != list(range(len(labels))) or not labels):
        raise ConfigError(f"id2label must number its labels from 0 without gaps, not {sorted(labels)[:5]!r}.")
    return labels


def labels_in(value: object) -> Mapping[int, str] | None:
    """The labels in ``id2label``, whatever their numbers: a mapping, or a list; a number is a label by its text."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        raise ConfigError(f"id2label must map numbers to labels, not be {value!r}.")
    try:
        labels = {int(number): label for number, label in value.items()}
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"id2label must have whole numbers as keys, not {list(value)[:3]!r}.") from problem
    if len(labels) < len(value):
        raise ConfigError(f"id2label names a number twice: {list(value)!r}.")
    if not all(isinstance(label, (str, int, float)) for label in labels.values()):
        raise ConfigError("id2label must map numbers to strings.")
    return MappingProxyType({number: str(label) for number, label in labels.items()})


def numbered(labels: Mapping[int, str] | None, number: int | None) -> tuple[Mapping[int, str], int]:
    """The labels and their number, each from the other where only one is given; two labels where none is."""
    if number is None:
        number = 2 if labels is None else len(labels)
    check_number(number)
    if labels is None:
        return MappingProxyType({i: f"LABEL_{i}" for i in range(number)}), number
    if len(labels) != number:
        raise ConfigError(f"num_labels is {number}, but id2label names {len(labels)} labels.")
    return labels, number


def check_number(number: object) -> None:
    """Raise ConfigError where ``num_labels`` is none."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
        raise ConfigError(f"num_labels must be a whole number from 1 to {MOST:,}, not {number!r}.")


def without_inverse(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that a caller gives, without ``label2id``: it must say what ``id2label`` says, or says that alone.

    Raises:
        ConfigError: The two contradict each other, or ``label2id`` does not number its labels.
    """
    if "label2id" not in fields:
        return fields
    rest = {name: value for name, value in fields.items() if name != "label2id"}
    if fields["label2id"] is None:
        return rest
    names, given = _inverted(fields["label2id"]), labels_of(rest.get("id2label"))
    if names is None:
        raise ConfigError(f"label2id must number its labels from 0 without gaps, not be {fields['label2id']!r:.80}.")
    if given is not None and dict(given) != dict(names):
        raise ConfigError(f"label2id and id2label contradict each other: {dict(names)!r:.80} and {dict(given)!r:.80}.")
    return {**rest, "id2label": names}


# --- Files that contradict themselves ---------------------------------------------------------------------------------


def fields_of(keys: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The fields ``id2label`` and ``num_labels`` for the keys of a file, unless the caller says them.

    Args:
        keys: The keys of the file.
        overrides: Fields that the caller gives; a number alone keeps the names of the file where it has as many.

    Raises:
        ConfigError: The file cannot be understood, and the caller does not say what is meant.
    """
    if overrides.get("id2label") is not None:
        return {}
    number = overrides.get("num_labels")
    if number is None:
        return _reconciled(keys)
    with suppress(ConfigError):
        labels = labels_of(keys.get("id2label"))
        if labels is not None and len(labels) == number:
            return {"id2label": labels}
    return {}


def _reconciled(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as transformers reads them, with a warning where a label of the file is lost.

    The number of outputs is ``num_labels``, else the number of names in ``id2label``.  Names are kept where there are
    as many; an output without a name is called LABEL_n.
    """
    labels, number = labels_in(keys.get("id2label")) or None, keys.get("num_labels")
    if labels is None and number is None:
        labels = _inverted(keys.get("label2id"))
        older = keys.get("_num_labels")
        number = older if labels is None and type(older) is int and older > 0 else None
    if number is not None:
        check_number(number)
    if labels is None:
        return {} if number is None else {"num_labels": number}
    outputs = len(labels) if number is None else number
    names = labels if len(labels) == outputs else {}
    fit = {i: names.get(i, f"LABEL_{i}") for i in range(outputs)}
    lost = [(i, label) for i, label in sorted(labels.items()) if fit.get(i) != label and label != f"LABEL_{i}"]
    if lost:
        warn(_says(labels, outputs, lost))
    return {"id2label": fit}


def _says(labels: Mapping[int, str], outputs: int, lost: list[tuple[int, str]]) -> str:
    names = first_of([f"{label!r} ({number})" for number, label in lost])
    if len(labels) != outputs:
        found = f"num_labels is {outputs}, but id2label names {len(labels)} labels"
    else:
        found = f"id2label numbers {len(labels)} labels {first_of([str(number) for number in sorted(labels)])}"
    return (
        f"{found}: the model has {outputs} outputs, numbered from 0, and {names} is the name of none of them. "
        f"The keyword id2label= names them."
    )


def _inverted(label2id: object) -> Mapping[int, str] | None:
    """The labels that ``label2id`` names, where it numbers them from 0 without gaps."""
    if not isinstance(label2id, Mapping):
        return None
    labels = {number: label for label, number in label2id.items() if type(number) is int}
    complete = labels and len(labels) == len(label2id) and sorted(labels) == list(range(len(labels)))
    return MappingProxyType(dict(sorted(labels.items()))) if complete else None
