"""Text for people: numbers with three digits and a unit, the first of many names, and control characters escaped."""

from collections.abc import Iterable, Mapping
from typing import Any

CONTROLS = (
    range(0x20),  # C0, with the escape character of terminals
    range(0x7F, 0xA0),  # DEL and C1
    *(range(0x061C, 0x061D), range(0x200E, 0x2010), range(0x202A, 0x202F), range(0x2066, 0x206A)),  # direction of text
    range(0x2028, 0x202A),  # ends of lines and of paragraphs
    range(0xD800, 0xE000),  # halves of characters, which no stream takes
    range(0xFEFF, 0xFF00),  # mark of byte order
    range(0xE0000, 0xE0080),  # tags, which nothing shows
)
"""Characters that change how a terminal, or a reader, takes the text around them."""


class _Escapes(dict[int, str]):
    """What is shown for a character."""

    def __missing__(self, code: int) -> str:
        form = "\\x{:02x}" if code < 0x100 else "\\u{:04x}" if code < 0x10000 else "\\U{:08x}"
        self[code] = form.format(code) if any(code in some for some in CONTROLS) else chr(code)
        return self[code]


_ESCAPES = _Escapes()
_ESCAPES_BUT_LINES = _Escapes({ord(letter): letter for letter in "\n\t"})


def printable(text: str, *, lines: bool = True) -> str:
    r"""A text whose control characters are escaped, as in ``\x1b``: it shows, and does nothing else.

    Args:
        text: What a file, a server, a card or a plugin says.
        lines: Whether ends of lines and tabs stay; without them, the text is one line.
    """
    if text.isprintable():  # as nearly every text is
        return text
    return text.translate(_ESCAPES_BUT_LINES if lines else _ESCAPES)


COUNTS = (("B", 1e9), ("M", 1e6), ("k", 1e3))
BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def json_text(value: Any, **options: Any) -> str:
    """A value as JSON in which control characters are escaped, also those that JSON allows."""
    import json  # most messages need none

    text = json.dumps(value, ensure_ascii=False, **options)
    if printable(text) != text:
        text = json.dumps(value, **options).replace("\x7f", "\\u007f")
    return text


def format_count(number: int | None) -> str:
    """A number of things: ``110 M``; empty when it is not known."""
    if number is None:
        return ""
    return str(number) if number < 1000 else _in_units(number, COUNTS)


def plural(number: int, noun: str) -> str:
    """A number of things: ``1 file``, ``2 files``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_size(size: int | None) -> str:
    """A size in bytes: ``90.9 MB``; empty when it is not known."""
    if size is None:
        return ""
    return f"{size:,} bytes" if size < 10_000 else _in_units(size, BYTES)


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """A table of two columns for notebooks; texts are escaped, and empty rows are dropped."""
    from html import escape  # notebooks alone need it

    def shown(text: str) -> str:
        return escape(printable(text)).replace("\n", "<br>")

    cells = "".join(f"<tr><th>{shown(name)}</th><td>{shown(text)}</td></tr>" for name, text in rows.items() if text)
    return f"<table><caption>{shown(title)}</caption><tbody>{cells}</tbody></table>"


def percent(share: float) -> str:
    """A share as a percentage: ``21.6 %``."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _in_units(number: int, units: tuple[tuple[str, float], ...]) -> str:
    """The number in the largest of ``units`` in which it is 1 or more, once it is rounded."""
    name, unit = next((name, unit) for name, unit in units if number >= 0.9995 * unit)
    value = number / unit
    digits = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return f"{digits} {name}"


def enumeration(items: Iterable[str], word: str = "and") -> str:
    """Names in a sentence: ``a, b and c``, or with another word."""
    *others, last = items
    return f"{', '.join(others)} {word} {last}" if others else last


def first_of(items: Iterable[str], most: int = 10) -> str:
    """The first of many names, and the number of the others: ``a, b and 7 more``."""
    shown = list(items)
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")
