"""Files of results, each with the columns of one part: Parquet, JSON lines, arrays of numpy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from registry.bulk.work import Columns
from registry.errors import InputError
from registry.extras import import_extra
from registry.formatting import json_text

ColumnsWriter: TypeAlias = Callable[[Path, Columns, str], None]
"""Writes columns to a file; the last argument names the column that was computed."""


def _parquet(path: Path, columns: Columns, _into: str) -> None:
    parquet = import_extra("pyarrow.parquet", "A Parquet file")
    pyarrow = import_extra("pyarrow", "A Parquet file")

    def column(values: Any) -> Any:
        if getattr(values, "ndim", 1) != 2:
            return pyarrow.array(values)
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1])

    parquet.write_table(pyarrow.table({name: column(values) for name, values in columns.items()}), path)


def _json_lines(path: Path, columns: Columns, _into: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in zip(*columns.values(), strict=True):
            values = [_json_of(value) for value in row]
            file.write(
                "{" + ", ".join(f"{json_text(key)}: {v}" for key, v in zip(columns, values, strict=True)) + "}\n"
            )


def _json_of(value: Any) -> str:
    """A value as JSON; nine digits give back every bit of a 32-bit float."""
    if getattr(value, "ndim", 0) == 1:
        return f"[{', '.join(f'{number:.9g}' for number in value.tolist())}]"
    return json_text(value)


def _array(path: Path, columns: Columns, into: str) -> None:
    """The vectors alone: row i is that of text i."""
    numpy = import_extra("numpy", "A .npy file")
    if getattr(columns[into], "ndim", 1) != 2:
        raise InputError(f"a .npy file holds vectors, and {into!r} are none.", hint="Choose parquet or jsonl.")
    with path.open("wb") as file:
        numpy.save(file, columns[into], allow_pickle=False)


WRITERS: Mapping[str, ColumnsWriter] = {"parquet": _parquet, "jsonl": _json_lines, "npy": _array}
"""Writers by suffix."""
