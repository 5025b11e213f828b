"""Files of texts, read row by row: lines, JSON lines, Parquet, arrays of numpy.

A row is a dictionary of columns, with ``id`` among them: its own, or its number from 0 over all files.
"""

import codecs
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from registry.errors import InputError, MissingFileError
from registry.extras import import_extra

Row: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Path, str], Iterator[Row]]
"""Rows of a file; the column of texts is named for files that name none."""
ID = "id"


def rows_of(paths: Iterable[Path], column: str) -> Iterator[Row]:
    """The rows of files, one after another, each with its ``id``.

    Args:
        paths: Files of the kinds in ``FORMATS``.
        column: The column of texts.

    Raises:
        InputError: A line is not UTF-8, or not JSON, or has no text in this column.
    """
    number = 0
    for path in paths:
        for row in reader_of(path)(path, column):
            try:
                _text_of(row, column)
            except InputError as problem:
                problem.message = f"row {number:,} (in {path}) {problem.message}"
                raise
            yield row if ID in row else {ID: number, **row}
            number += 1


def checked_count(paths: Sequence[Path], column: str) -> int:
    """The number of rows, once all of them were read and found to be in order.

    A job of hours must not end at a line that a second would have found.  Raises what ``rows_of`` raises.
    """
    return sum(1 for _ in rows_of(paths, column))


def reader_of(path: Path) -> Reader:
    """The reader of a file, by its suffix; a file with another one is read as lines.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is of a kind whose lines are not texts.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is not a file.")
    if path.suffix.lower() in NOT_LINES:
        raise InputError(
            f"{path} is not read: the lines of a {path.suffix} file are not texts.",
            hint="Write its texts as lines of a .txt file, or as a column of a .jsonl or .parquet file.",
        )
    return FORMATS.get(path.suffix.lower(), FORMATS[".txt"])


# --- Lines ------------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[str]:
    """Lines in UTF-8, without their ends and a byte order mark."""
    with path.open("rb") as file:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        for number, line in enumerate(file, 1):
            try:
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
            except UnicodeDecodeError as problem:
                raise InputError(f"line {number:,} of {path} is not UTF-8: {problem.reason}.") from problem


def _text_rows(path: Path, column: str) -> Iterator[Row]:
    return ({column: line} for line in _lines(path))


def _json_rows(path: Path, _column: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), 1):
        try:
            yield _object_in(line)
        except InputError as problem:
            problem.message = f"line {number:,} of {path} {problem.message}"
            raise


def _object_in(line: str) -> Row:
    """The JSON object in a line.  Raises InputError, whose message begins after the name of the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"is not JSON: {problem}.") from problem
    if not isinstance(row, dict):
        raise InputError(f"is not a JSON object: {line[:80]!r}.")
    return row


def text_in_json(line: str, column: str) -> str:
    """A text of the JSON object in a line.  Raises InputError, whose message begins after the name of the line."""
    return _text_of(_object_in(line), column)


def _text_of(row: Row, column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str):
        found = f"{text!r}" if column in row else f"only the columns {', '.join(map(repr, row))}"
        raise InputError(f"has no text {column!r}: {found[:200]}.")
    return text


# --- Tables -----------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path, _column: str) -> Iterator[Row]:
    parquet = import_extra("pyarrow.parquet", "A Parquet file")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (OSError, ValueError) as problem:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path} cannot be read as Parquet: {problem}") from problem


def _array_rows(path: Path, column: str) -> Iterator[Row]:
    numpy = import_extra("numpy", "A .npy file")
    try:
        array = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as problem:  # of a damaged header, of which numpy evaluates the text
        raise InputError(f"{path} cannot be read as an array: {type(problem).__name__}: {problem!s:.200}") from problem
    if not isinstance(array, numpy.ndarray):
        raise InputError(f"{path} is not an array: it is an archive of arrays, by its first bytes.")
    if array.ndim != 1 or array.dtype.kind != "U":
        raise InputError(f"{path} is not an array of texts: its type is {array.dtype}, its shape {array.shape}.")
    return ({column: text} for text in _texts_in(array, path))


def _texts_in(array: Any, path: Path) -> Iterator[str]:
    """The texts of an array, read block by block.  Of numbers beyond Unicode numpy makes damaged texts, or none."""
    number = array.dtype.byteorder + "u4"
    for start in range(0, len(array), 1024):
        block = array[start : start + 1024]
        if array.dtype.itemsize and block.view(number).max() > sys.maxunicode:
            raise InputError(f"{path} cannot be read as an array of texts: it has numbers beyond those of characters.")
        yield from map(str, block)


FORMATS: Mapping[str, Reader] = {
    ".txt": _text_rows,
    ".jsonl": _json_rows,
    ".parquet": _parquet_rows,
    ".npy": _array_rows,
}
"""Readers of rows by suffix."""

NOT_LINES = (".csv", ".tsv", ".json")
"""Files of text that are not read, since their lines would be taken for texts."""
