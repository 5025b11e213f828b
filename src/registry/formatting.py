"""Numbers as text for people, with three digits and a unit; and the first of many names."""

from collections.abc import Iterable

COUNTS = (("B", 1e9), ("M", 1e6), ("k", 1e3))
BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def format_count(number: int | None) -> str:
    """A number of things: ``110 M``; empty when it is not known."""
    if number is None:
        return ""
    return str(number) if number < 1000 else _in_units(number, COUNTS)


def format_size(size: int | None) -> str:
    """A size in bytes: ``90.9 MB``; empty when it is not known."""
    if size is None:
        return ""
    return f"{size:,} bytes" if size < 10_000 else _in_units(size, BYTES)


def percent(share: float) -> str:
    """A share as a percentage: ``21.6 %``."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _in_units(number: int, units: tuple[tuple[str, float], ...]) -> str:
    """The number in the largest of ``units`` in which it is 1 or more, once it is rounded."""
    name, unit = next((name, unit) for name, unit in units if number >= 0.9995 * unit)
    value = number / unit
    digits = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return f"{digits} {name}"


def first_of(items: Iterable[str], most: int = 10) -> str:
    """The first of many names, and the number of the others: ``a, b and 7 more``."""
    shown = list(items)
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")
