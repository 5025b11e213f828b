"""Output of all commands: tables, fields, JSON, messages, and progress bars.

Results go to stdout; messages, warnings, errors and progress bars go to stderr.  Colors and progress bars appear on
terminals only; the text is the same without them.  ``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` turn colors
off.  Every command prints through this module, which escapes control characters: what files, servers, cards and
plugins say is shown, and does nothing else.  ``-q`` leaves results and errors alone, ``-v`` adds the details of errors.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import attrs
import click

from registry.cli.verbosity import QUIET, VERBOSE, verbosity
from registry.download.progress import ProgressBar
from registry.extras import import_extra
from registry.formatting import format_size as format_size
from registry.formatting import json_text, printable

if TYPE_CHECKING:
    from registry.records import Card

json_option = click.option("--json", "as_json", is_flag=True, help="Output JSON.")


def takes_colors(stream: TextIO) -> bool:
    """Whether the stream is a terminal with colors, and the user has not turned them off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# --- Results, on stdout -----------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Print records, mappings and sequences of them as JSON."""
    click.echo(json_text(value, indent=2, default=_plain))


def echo(text: object = "", *, end: str = "\n") -> None:
    """Print a text as a result."""
    click.echo(printable(str(text)) + end, nl=False)  # click flushes


def echo_data(data: bytes) -> None:
    """Print bytes as they are: a format for programs."""
    click.echo(data, nl=False)


def card_as_json(card: "Card") -> dict[str, Any]:
    """The fields of a card, its size in bytes, and whether its files are on this computer."""
    from registry.sources.card import is_local

    return {**_plain(card), "size": card.size, "cached": is_local(card)}


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table.

    Args:
        header: The names of the columns.
        rows: The rows, one text per column.
        numbers: Columns that are aligned on the right.
        spare: Columns that are dropped, in this order, on a terminal that is too narrow; a message names them.
    """
    columns = {name: [printable(row[index], lines=False) for row in rows] for index, name in enumerate(header)}
    (_print_colored if takes_colors(sys.stdout) else _print_plain)(columns, numbers, spare)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print one field per line, without those that have no value; on a terminal, long values are wrapped."""
    from textwrap import wrap  # whose patterns take time to compile

    known = {name: printable(value, lines=False) for name, value in fields.items() if value}
    margin = max(map(len, known), default=0)
    room = max(20, get_terminal_size().columns - margin - 2) if sys.stdout.isatty() else sys.maxsize
    for name, value in known.items():
        first, *others = wrap(value, room, break_long_words=False, break_on_hyphens=False) or [value]
        _echo(first, sys.stdout, before=f"{click.style(f'{name:<{margin}}', dim=True)}  ")
        for line in others:
            _echo(" " * (margin + 2) + line, sys.stdout)


def print_tokens(label: str, tokens: Iterable[tuple[str, bool]]) -> None:
    """Print the tokens of a text on one line, behind a label.

    Args:
        label: What is printed before them.
        tokens: The tokens, and of each whether it is special; on a terminal special ones are dim, and the others stand
            on two alternating colors.
    """
    shown = [(printable(token, lines=False), special) for token, special in tokens]
    if takes_colors(sys.stdout):
        colors = ("cyan", "yellow")
        styled = [
            click.style(token, dim=True) if special else click.style(token, fg="black", bg=colors[number % 2])
            for number, (token, special) in enumerate(shown)
        ]
        click.echo(f"{click.style(printable(label, lines=False), bold=True)}{''.join(styled)}", color=True)
    else:
        click.echo(f"{printable(label, lines=False)}{'|'.join(token for token, _ in shown)}")


# --- Messages, on stderr ----------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Print a message next to the results."""
    if verbosity() != QUIET:
        _echo(message, sys.stderr)


def warn(message: str) -> None:
    """Print a warning."""
    if verbosity() != QUIET:
        _echo(message, sys.stderr, before=f"{click.style('warning:', fg='yellow')} ")


def complain(error: BaseException) -> None:
    """Print an error: its type, its message, and with ``-v`` its details."""
    text, details = str(error), getattr(error, "details", None)
    if details:
        text += f"\n{details}" if verbosity() == VERBOSE else " -v prints details."
    _echo(text, sys.stderr, before=f"{click.style(f'{type(error).__name__}:', fg='red', bold=True)} ")


@contextmanager
def progress(doing: str, total: int | None = None, *, unit: str) -> Iterator[Callable[[int], object]]:
    """A progress bar on stderr, if that is a terminal.

    Args:
        doing: The text before the bar.
        total: How much there is to do, if that is known.
        unit: A plural noun; ``"bytes"`` are shown as sizes.

    Yields:
        A function to call with the amount done since its last call.

    Example::

        with progress("Embedding", len(texts), unit="texts") as advance:
            for batch in batches:
                ...
                advance(len(batch))
    """
    with ProgressBar(doing, total=total, unit=unit, shown=False if verbosity() == QUIET else None) as bar:
        yield bar.advance


# --- Inside -----------------------------------------------------------------------------------------------------------


def _echo(text: str, stream: TextIO, *, before: str = "") -> None:
    click.echo(before + printable(text), file=stream, color=takes_colors(stream))


def _plain(value: Any) -> Any:
    from registry.records import Card

    if isinstance(value, Card):
        value = value.without_secrets()
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return dict(value) if isinstance(value, Mapping) else str(value)


Columns: TypeAlias = dict[str, list[str]]
"""The cells of each column, by its name."""


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


def _print_colored(columns: Columns, numbers: Collection[str], spare: Sequence[str]) -> None:
    import_extra("rich", "A table on a terminal")
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    hidden = []
    for name in spare:
        if sum(_widths(columns)) + 2 * (len(columns) - 1) > console.width:
            columns = {other: cells for other, cells in columns.items() if other != name}
            hidden.append(name)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        justify: Any = "right" if name in numbers else "left"
        if index == 0:  # a name that is broken in the middle cannot be copied
            table.add_column(name, style="cyan", no_wrap=True, min_width=min(_widths(columns)[0], console.width))
        else:
            table.add_column(name, overflow="fold", justify=justify)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)
    if hidden:
        say(f"Columns not shown on this narrow terminal: {', '.join(hidden)}; --json prints all.")
