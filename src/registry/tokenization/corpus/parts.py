"""Parts of files: some texts that a process can read by itself, or is given."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from registry.errors import InputError
from registry.tokenization.corpus.readers import reader_of, rows_of, text_in_json

BYTES = 2**18
"""Bytes of a part; the line in which they end belongs to it as a whole."""
TEXTS = 1000
"""Texts of a part of a file that has no lines."""


class Portion(Protocol):
    """Some texts of a file, in its order; can be pickled."""

    def texts(self) -> list[str]:
        """The texts.  Raises InputError, which names the file and the line, where one is damaged."""
        ...


class Texts(NamedTuple):
    """Texts that were read."""

    read: list[str]

    def texts(self) -> list[str]:
        """The texts."""
        return self.read


class Lines(NamedTuple):
    """Complete lines of a file: a text each, or, where there is a column, JSON objects that have texts."""

    path: Path
    start: int
    """Where they begin, in bytes."""
    stop: int
    column: str | None

    def texts(self) -> list[str]:
        """The texts.  Raises InputError where a line is damaged."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            data = file.read(self.stop - self.start)
        try:
            lines = data.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as problem:
            number = self._number(data.count(b"\n", 0, problem.start))
            raise InputError(f"line {number:,} of {self.path} is not UTF-8: {problem.reason}.") from problem
        if b"\r" in data:
            lines = [line.removesuffix("\r") for line in lines]
        return lines if self.column is None else [*self._in_json(lines, self.column)]

    def _in_json(self, lines: list[str], column: str) -> Iterator[str]:
        for number, line in enumerate(lines):
            try:
                yield text_in_json(line, column)
            except InputError as problem:
                problem.message = f"line {self._number(number):,} of {self.path} {problem.message}"
                raise

    def _number(self, of_part: int) -> int:
        """The number in the file, from 1, of a line of this part, which are counted from 0."""
        with self.path.open("rb") as file:
            before, remaining = 0, self.start
            while remaining and (data := file.read(min(remaining, BYTES))):
                before, remaining = before + data.count(b"\n"), remaining - len(data)
        return before + of_part + 1


def existing(paths: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[Path]:
    """One path or several.  Raises MissingFileError where one is not a file's."""
    found = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    for path in found:
        reader_of(path)
    return found


def parts_of(paths: Iterable[Path], column: str) -> Iterator[Portion]:
    """The parts of files, in their order.

    Args:
        paths: Files of the kinds that ``rows_of`` reads.
        column: The column of texts, in files that have columns.

    Raises:
        InputError: A file is damaged, or has no such column.
    """
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in (".parquet", ".npy"):
            rows = (row[column] for row in rows_of([path], column))
            while texts := list(islice(rows, TEXTS)):
                yield Texts(texts)
        else:
            yield from _parts_of_lines(path, column if suffix == ".jsonl" else None)


def _parts_of_lines(path: Path, column: str | None) -> Iterator[Lines]:
    start, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while start < size:
            file.seek(start + BYTES - 1)
            file.readline()
            stop = min(file.tell(), size)
            yield Lines(path, start, stop, column)
            start = stop
