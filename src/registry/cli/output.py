"""What all commands show with: tables, fields, JSON, news, and bars.

Results go to stdout; news, warnings, errors and bars go to stderr.  Colours and bars are for people: off a terminal
there are none, and the text is the same without them.  ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` turn
colours off.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import attrs
import click

from registry.download.progress import ProgressBar
from registry.formatting import format_size as format_size

if TYPE_CHECKING:
    from registry.records import Card

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def takes_colours(stream: TextIO) -> bool:
    """Whether colours may be written there: to a terminal that has them, and whose user did not refuse them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# --- Results, on stdout -----------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Print records, mappings and sequences of them as JSON."""
    import json

    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def card_as_json(card: "Card") -> dict[str, Any]:
    """All that a card says, its size in bytes, and whether its files are on this computer."""
    from registry.sources.files import is_local

    return {**_plain(card), "size": card.size, "cached": is_local(card)}


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows of text under a header; the columns that ``numbers`` names are aligned on the right.

    On a terminal that is too narrow, the columns that ``spare`` names are left out, the first of them first.
    """
    columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    (_print_coloured if takes_colours(sys.stdout) else _print_plain)(columns, numbers, spare)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print one field a line, leaving out those without a value."""
    known = {name: value for name, value in fields.items() if value}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        _echo(f"{click.style(f'{name:<{width}}', dim=True)}  {value}", sys.stdout)


# --- News, on stderr --------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Tell in a line what was done or should be known, beside the results."""
    _echo(message, sys.stderr)


def warn(message: str) -> None:
    """Show a warning."""
    _echo(f"{click.style('warning:', fg='yellow')} {message}", sys.stderr)


def complain(error: BaseException) -> None:
    """Show an error: its type, what it says, and what to do."""
    _echo(f"{click.style(f'{type(error).__name__}:', fg='red', bold=True)} {error}", sys.stderr)


@contextmanager
def progress(doing: str, total: int | None = None, *, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar with rate and time left while the ``with`` block runs; off a terminal, show nothing.

    Yields what is called with the number of things that were done since the last call::

        with progress("Embedding", len(texts), unit="texts") as advance:
            for batch in batches:
                ...
                advance(len(batch))

    ``unit`` names them in the plural; ``"bytes"`` are shown as sizes.  Without ``total`` there is no time left to show.
    """
    with ProgressBar(doing, total=total, unit=unit) as bar:
        yield bar.advance


# --- Inside -----------------------------------------------------------------------------------------------------------


def _echo(text: str, stream: TextIO) -> None:
    click.echo(text, file=stream, color=takes_colours(stream))


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return dict(value) if isinstance(value, Mapping) else str(value)


Columns: TypeAlias = dict[str, list[str]]
"""The cells below each heading."""


def _widths(columns: Columns) -> list[int]:
    return [max(map(len, (name, *cells))) for name, cells in columns.items()]


def _print_plain(columns: Columns, numbers: Collection[str], _spare: Sequence[str]) -> None:
    widths = _widths(columns)
    for row in (tuple(columns), *zip(*columns.values(), strict=True)):
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_coloured(columns: Columns, numbers: Collection[str], spare: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for name in spare:
        if sum(_widths(columns)) + 2 * (len(columns) - 1) > console.width:
            columns = {other: cells for other, cells in columns.items() if other != name}
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(columns):
        justify: Any = "right" if name in numbers else "left"
        table.add_column(name, style="cyan" if place == 0 else None, overflow="fold", justify=justify)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)
