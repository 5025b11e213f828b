"""Data of your own for the examples: ``--data FILE.csv``, a CSV file in UTF-8 with a header."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def data_option(*columns: str) -> Callable[[Command], Command]:
    """The option ``--data``, for a file with these columns."""
    return click.option(
        "--data",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"Your own data: a CSV file with the columns {' and '.join(columns)}.",
    )


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The cells of these columns, row by row; rows in which one is empty are skipped.

    Raises:
        ClickException: A column is missing, there is no row, or the file is not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise click.ClickException(
                    f"{path} has no column {missing[0]!r}; its header is {', '.join(reader.fieldnames or ('empty',))}."
                )
            rows = [tuple((row[name] or "").strip() for name in columns) for row in reader]
    except UnicodeDecodeError as problem:
        raise click.ClickException(f"{path} is not UTF-8: {problem.reason} at byte {problem.start:,}.") from problem
    found = [row for row in rows if all(row)]
    if not found:
        raise click.ClickException(f"{path} has no row with {' and '.join(columns)}.")
    return found
