"""Rows of a batch: which texts a call names, and the tokens of each row."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import repeat
from typing import Any, TypeVar

from registry.errors import UnknownOptionError, did_you_mean
from registry.tokenization.batches.encoding import Encoding, Template, join
from registry.tokenization.batches.formats import Column
from registry.tokenization.batches.truncation import Truncation, windows

T = TypeVar("T")


def choose(value: Any, choices: Mapping[Any, T], option: str) -> T:
    """What the value of an option stands for.  Raises UnknownOptionError, with suggestions."""
    try:
        return choices[value]
    except (KeyError, TypeError):
        words = [choice for choice in choices if isinstance(choice, str)]
        raise UnknownOptionError(
            f"{option}={value!r} is not known.{did_you_mean(str(value), words)}",
            hint=f"{option} may be {', '.join(map(repr, choices))}.",
        ) from None


# --- Texts ------------------------------------------------------------------------------------------------------------


def texts_and_pairs(text: Any, text_pair: Any) -> tuple[list[str], list[str] | None, bool]:
    """First texts, second texts (None without pairs), and whether a batch was given rather than a single text.

    A batch is a list of texts, or of pairs of texts.  Raises TypeError for anything but strings.
    """
    if isinstance(text, str):
        firsts, seconds = [text], None if text_pair is None else [text_pair]
    elif text_pair is None:
        firsts, seconds = _unzipped(_listed(text))
    else:
        firsts, seconds = _listed(text), _listed(text_pair)
        if len(firsts) != len(seconds):
            raise ValueError(f"There are {len(firsts)} texts, but {len(seconds)} second texts.")
    for found in (*firsts, *(seconds or ())):
        if not isinstance(found, str):
            raise TypeError(f"A text must be a string, not {found!r:.80}.")
    return firsts, seconds, not isinstance(text, str)


def _listed(texts: Any) -> list[Any]:
    if not isinstance(texts, Iterable) or isinstance(texts, (str, bytes, Mapping)):
        raise TypeError(f"A string or a list of strings is needed, not {texts!r:.80}.")
    return list(texts)


def _unzipped(texts: list[Any]) -> tuple[list[Any], list[Any] | None]:
    """First and second texts of a list of pairs; the list itself when it holds texts."""
    if not texts or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in texts):
        return texts, None
    return [first for first, _ in texts], [second for _, second in texts]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def rows(
    firsts: Iterable[Encoding],
    seconds: Iterable[Encoding] | None,
    template: Template[Encoding],
    truncation: Truncation,
    columns: Mapping[str, Column],
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """The rows of a batch.

    Args:
        firsts: The first texts.
        seconds: The second texts; None without pairs.
        template: Special tokens around and between them.
        truncation: How many tokens a row may have, and which are cut.
        columns: What is made of the tokens of a row, by the key in a batch.

    Returns:
        The rows, each by the keys of ``columns``; and for each row the number of its text.

    Raises:
        ValueError: The lengths cannot be met.
    """
    added = sum(len(part.ids) for part in template) - (len(template.between.ids) if seconds is None else 0)
    if truncation.strategy and truncation.max_length is not None and truncation.max_length < added:
        raise ValueError(f"max_length={truncation.max_length} leaves no room for the {added} special tokens.")
    found: list[dict[str, Any]] = []
    text_index: list[int] = []
    for number, (first, second) in enumerate(zip(firsts, repeat(None) if seconds is None else seconds, strict=False)):
        for this, that in windows(len(first.ids), 0 if second is None else len(second.ids), added, truncation):
            row, ones = add_special_tokens(template, first.part(this), None if second is None else second.part(that))
            found.append({key: column(row, ones) for key, column in columns.items()})
            text_index.append(number)
    return found, tuple(text_index)


def add_special_tokens(
    template: Template[Encoding], first: Encoding, second: Encoding | None = None
) -> tuple[Encoding, int]:
    """The tokens of a row, and how many at its end belong to the second text."""
    if second is None:
        return (join(template.start, first, template.end) if template.start.ids or template.end.ids else first), 0
    row = join(template.start, first, template.between, second, template.end)
    return row, len(second.ids) + len(template.end.ids)


def padded_length(column: Sequence[Sized], pad_to: str | None, max_length: int | None) -> int:
    """Tokens that every row must have at least."""
    if pad_to is None:
        return 0
    if pad_to == "longest":
        return max(map(len, column), default=0)
    if max_length is None:
        raise ValueError("padding='max_length' needs a max_length: how much the model takes is not known here.")
    return max_length
