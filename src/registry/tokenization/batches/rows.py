"""Rows of a batch: which texts a call names, and the tokens of each row."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import repeat
from operator import index
from typing import Any, TypeVar

from registry.errors import InputError, RegistryError, UnknownOptionError, did_you_mean
from registry.tokenization.batches.encoding import Encoding, Template, join
from registry.tokenization.batches.formats import Column
from registry.tokenization.batches.origins import Window
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


def whole_number(value: Any, name: str) -> int:
    """The value of an option, a whole number above 0.  Raises InputError for any other."""
    try:
        number = index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number above 0, not {value!r:.80}.")
    return number


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
        _check_lengths(firsts, seconds)
    for found in (*firsts, *(seconds or ())):
        if not isinstance(found, str):
            raise _no_text(firsts, seconds, not isinstance(text, str))
    return firsts, seconds, not isinstance(text, str)


def words_and_pairs(text: Any, text_pair: Any) -> tuple[list[list[str]], list[list[str]] | None, bool]:
    """The same for texts that are lists of words."""
    firsts = _listed(text)
    batched = bool(firsts) and not isinstance(firsts[0], str)
    if not batched:
        firsts, seconds = [firsts], None if text_pair is None else [_listed(text_pair)]
    elif text_pair is None:
        firsts, seconds = _unzipped(firsts) if not isinstance(next(iter(firsts[0]), ""), str) else (firsts, None)
    else:
        seconds = _listed(text_pair)
        _check_lengths(firsts, seconds)
    firsts = [_words(words, f"text[{n}]" if batched else "text") for n, words in enumerate(firsts)]
    if seconds is not None:
        seconds = [_words(words, f"text_pair[{n}]" if batched else "text_pair") for n, words in enumerate(seconds)]
    return firsts, seconds, batched


def _words(words: Any, name: str) -> list[str]:
    listed = _listed(words, name)
    for number, word in enumerate(listed):
        if not isinstance(word, str):
            raise TypeError(f"{name}[{number}] must be a string, a word, not {word!r:.80}.")
    return listed


def _listed(texts: Any, name: str = "text") -> list[Any]:
    if not isinstance(texts, Iterable) or isinstance(texts, (str, bytes, Mapping)):
        raise TypeError(f"{name} must be a string or a list of strings, not {texts!r:.80}.")
    return list(texts)


def _unzipped(texts: list[Any]) -> tuple[list[Any], list[Any] | None]:
    """First and second texts of a list of pairs; the list itself when it holds texts."""
    if not texts or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in texts):
        return texts, None
    return [first for first, _ in texts], [second for _, second in texts]


def _check_lengths(firsts: Sized, seconds: Sized) -> None:
    if len(firsts) != len(seconds):
        raise InputError(f"There are {len(firsts)} texts, but {len(seconds)} second texts.")


def _no_text(firsts: list[Any], seconds: list[Any] | None, batched: bool) -> TypeError:
    """The error for the first of some texts that is not a string."""
    for name, texts in (("text", firsts), ("text_pair", seconds or [])):
        for number, found in enumerate(texts):
            if not isinstance(found, str):
                where = f"{name}[{number}]" if batched else name
                return TypeError(f"{where} must be a string, not {found!r:.80}.")
    raise AssertionError("called without a fault")


# --- Tokens -----------------------------------------------------------------------------------------------------------


def rows(
    firsts: Iterable[Encoding],
    seconds: Iterable[Encoding] | None,
    template: Template[Encoding],
    truncation: Truncation,
    columns: Mapping[str, Column],
    *,
    batched: bool = True,
) -> tuple[list[dict[str, Any]], list[Window]]:
    """The rows of a batch.

    Args:
        firsts: The first texts.
        seconds: The second texts; None without pairs.
        template: Special tokens around and between them.
        truncation: How many tokens a row may have, and which are cut.
        columns: What is made of the tokens of a row, by the key in a batch.
        batched: Whether errors give the number of a text.

    Returns:
        The rows, each by the keys of ``columns``; and for each row the tokens of which texts it has.

    Raises:
        InputError: The lengths cannot be met.
    """
    added = sum(added_tokens(template, seconds is not None))
    if truncation.strategy and truncation.max_length is not None:
        check_room(truncation.max_length, added)
    found: list[dict[str, Any]] = []
    of_texts: list[Window] = []
    number = 0
    try:
        for first, second in zip(firsts, repeat(None) if seconds is None else seconds, strict=False):
            for this, that in windows(len(first.ids), 0 if second is None else len(second.ids), added, truncation):
                other = None if second is None else second.part(that)
                row, ones = add_special_tokens(template, first.part(this), other)
                found.append({key: column(row, ones) for key, column in columns.items()})
                of_texts.append((number, this, that))
            number += 1
    except RegistryError as problem:
        problem.message = f"text[{number}]: {problem.message}" if batched else problem.message
        raise
    return found, of_texts


def check_room(max_length: int, added: int) -> None:
    """Raise InputError where a row has no room for the special tokens that are added."""
    if max_length < added:
        raise InputError(f"max_length={max_length} leaves no room for the {added} special tokens.")


def added_tokens(template: Template[Encoding], pairs: bool) -> tuple[int, int, int]:
    """How many special tokens stand before, between and after texts."""
    between = len(template.between.ids) + (len(template.opening.ids) if template.opening else 0)
    return len(template.start.ids), between if pairs else 0, len(template.end.ids)


def add_special_tokens(
    template: Template[Encoding], first: Encoding, second: Encoding | None = None
) -> tuple[Encoding, int]:
    """The tokens of a row, and how many at its end belong to the second text."""
    if second is None:
        return (join(template.start, first, template.end) if template.start.ids or template.end.ids else first), 0
    opening = template.opening or Encoding(template.end.ids[:0], [])
    row = join(template.start, first, template.between, opening, second, template.end)
    return row, len(opening.ids) + len(second.ids) + len(template.end.ids)


def padded_length(column: Sequence[Sized], pad_to: str | None, max_length: int | None, multiple: int | None) -> int:
    """Tokens that every row must have at least."""
    if pad_to is None:
        return 0
    if pad_to == "longest":
        length = max(map(len, column), default=0)
    elif max_length is None:
        raise InputError("padding='max_length' needs a max_length: how much the model takes is not known here.")
    else:
        length = max_length
    return length if multiple is None else -(-length // whole_number(multiple, "pad_to_multiple_of")) * multiple
