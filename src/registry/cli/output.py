"""What all commands print with: aligned tables, or JSON for other programs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def print_json(value: Any) -> None:
    """Print records, mappings and sequences of them as JSON."""
    import json

    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under a header: in colours on a terminal, else as plain aligned columns."""
    (_print_coloured if sys.stdout.isatty() else _print_plain)(header, rows)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print one field a line, leaving out those without a value."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value:
            click.echo(f"{name:<{width}}  {value}")


def size_in_words(size: int | None) -> str:
    """A size in bytes, as people read it: ``90.9 MB``; empty when it is not known."""
    return "" if size is None else f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return dict(value) if isinstance(value, Mapping) else str(value)


def _print_plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_coloured(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, style="cyan" if number == 0 else None, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
