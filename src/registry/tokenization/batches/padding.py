"""Padding of rows that a tokenizer returned earlier, as data collators need it."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.errors import InputError
from registry.tokenization.batches.batch import Batch
from registry.tokenization.batches.formats import FILLING
from registry.tokenization.lookup import plain

PADDED = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")
"""Columns that are padded; others are kept as they are."""


def columns_of(encoded: Any) -> tuple[dict[str, list[Any]], bool, str | None]:
    """Rows as columns of lists.

    Args:
        encoded: A mapping of columns, or a list of mappings, one for each row; columns are lists, tensors or arrays.

    Returns:
        The columns; whether they are those of several rows; ``"pt"`` or ``"np"`` if they were tensors or arrays.

    Raises:
        InputError: There are no ``input_ids``, or columns have different numbers of rows.
    """
    if not isinstance(encoded, Mapping):
        rows = list(encoded)
        if not all(isinstance(row, Mapping) for row in rows):
            raise InputError("pad takes a batch, or a list of mappings from names to ids.")
        missing = [(n, key) for n, row in enumerate(rows) for key in (rows[0] if rows else ()) if key not in row]
        if missing:
            raise InputError("Row {} has no {!r}, which row 0 has.".format(*missing[0]))
        encoded = {key: [row[key] for row in rows] for key in rows[0]} if rows else {"input_ids": []}
    if "input_ids" not in encoded:
        raise InputError(f"There are no input_ids to pad, only {', '.join(map(str, encoded)) or 'nothing'}.")
    kind = _kind(encoded["input_ids"])
    columns = {key: plain(column) for key, column in encoded.items()}
    ids = columns["input_ids"]
    batched = not ids or isinstance(ids[0], list)
    if batched:
        for key, column in columns.items():
            if not isinstance(column, list) or len(column) != len(ids):
                raise InputError(f"{key} must have {len(ids)} rows, as many as input_ids, not {column!r:.80}.")
    return columns, batched, kind


def _kind(column: Any) -> str | None:
    """``"pt"`` or ``"np"`` for tensors or arrays, or a list of them."""
    found = column[0] if isinstance(column, (list, tuple)) and column else column
    module = type(found).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np"}.get(module)


def pad_columns(columns: dict[str, list[Any]], length: int, side: str, pad_id: int) -> Batch:
    """The columns, each row of those in ``PADDED`` filled up to ``length``; a mask is added where there is none."""
    filled = dict(columns)
    for key in PADDED:
        if key in filled:
            fill = pad_id if key == "input_ids" else FILLING.get(key, 0)
            filled[key] = [_padded(row, length, side, fill) for row in filled[key]]
    return Batch(filled)


def _padded(row: Sequence[int], length: int, side: str, fill: int) -> list[int]:
    padding = [fill] * (length - len(row))
    return [*padding, *row] if side == "left" else [*row, *padding]


def stacked(columns: Mapping[str, Any], kind: str) -> Batch:
    """The columns as tensors or arrays.  Raises InputError for one whose rows have different lengths."""
    return Batch({key: _stacked(key, column, kind) for key, column in columns.items()})


def _stacked(key: str, column: Any, kind: str) -> Any:
    try:
        if kind == "pt":
            import torch  # only who asks for tensors waits for torch

            return torch.tensor(column) if column else torch.empty(0, dtype=torch.int64)
        from registry.extras import import_extra

        np = import_extra("numpy", 'return_tensors="np"')
        return np.array(column) if column else np.empty(0, dtype=np.int64)
    except (ValueError, TypeError) as problem:
        raise InputError(
            f"{key} cannot be made into a tensor: {problem}.",
            hint=f"Rows must have the same length after padding; leave {key} out, or pad it first.",
        ) from problem
