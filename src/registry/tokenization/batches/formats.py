"""Formats of a batch: lists, torch tensors, or numpy arrays."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from registry.errors import InputError
from registry.tokenization.batches.encoding import Encoding, RowOf
from registry.tokenization.chunk_cache import TokenIds, as_array, as_list

PADDING: Mapping[Any, str | None] = {
    False: None, None: None, "do_not_pad": None, True: "longest", "longest": "longest", "max_length": "max_length",
}  # fmt: skip
"""Values of ``padding=``, and the length that they name."""


SIDES: Mapping[Any, str] = {"right": "right", "left": "left"}
"""Values of ``padding_side=`` and ``truncation_side=``."""


FILLING: Mapping[str, int] = {"special_tokens_mask": 1}
"""Numbers with which columns are padded, but for the ids; others are padded with 0."""

Column: TypeAlias = Callable[[Encoding, int], Any]
"""Makes a row of a column from the tokens of the row, of which the last ones belong to the second text."""


class BatchFormat(NamedTuple):
    """How a batch holds its columns."""

    row_of: RowOf
    """The rows that columns are best made of."""
    columns: Mapping[str, Column]
    """By the key in a batch; all are made at once, while the tokens of a row still lie in the processor's cache."""
    padding: Callable[[str, int], Any]
    """The part of a column for one token of padding, which is filled with a number."""
    stacked: Callable[[str, list[Any]], Any]
    """A column, from its rows."""
    numbers: Callable[[list[int]], Any]
    """A column of one number for each row."""


NUMBERS = {"offset_mapping": 2}
"""Numbers that a token has in a column of arrays, where it is not one."""

LISTS: Mapping[str, Column] = {
    "input_ids": lambda row, _: row.ids,
    "token_type_ids": lambda row, ones: [0] * (len(row.ids) - ones) + [1] * ones,
    "attention_mask": lambda row, _: [1] * len(row.ids),
    "offset_mapping": lambda row, _: list(row.offsets),
}
"""Columns as lists.  Second texts, with the special tokens after them, are of type 1, all else of type 0."""

ZERO, ONE = array("q", [0]), array("q", [1])
ARRAYS: Mapping[str, Column] = {
    "input_ids": lambda row, _: row.ids,
    "token_type_ids": lambda row, ones: ZERO * (len(row.ids) - ones) + ONE * ones,
    "attention_mask": lambda row, _: ONE * len(row.ids),
    "offset_mapping": lambda row, _: array("q", chain.from_iterable(row.offsets)),
}
"""The same columns as 64-bit integers, of which tensors are made."""


def _list_padding(key: str, fill: int) -> list[Any]:
    return [(fill, fill) if key in NUMBERS else fill]


def _array_padding(key: str, fill: int) -> TokenIds:
    return array("q", [fill] * NUMBERS.get(key, 1))


def as_torch(key: str, column: Sequence[TokenIds]) -> Any:
    """Rows of one length as a tensor of 64-bit integers."""
    import torch  # only who asks for tensors waits for torch

    shape, data = _shape(key, column), bytearray().join(column)
    return torch.frombuffer(data, dtype=torch.int64).view(shape) if data else torch.empty(shape, dtype=torch.int64)


def as_numpy(key: str, column: Sequence[TokenIds]) -> Any:
    """Rows of one length as a numpy array of 64-bit integers."""
    from registry.extras import import_extra  # no part of the core needs numpy

    np = import_extra("numpy", 'return_tensors="np"')
    return np.frombuffer(bytearray().join(column), dtype=np.int64).reshape(_shape(key, column))


def _shape(key: str, column: Sequence[TokenIds]) -> tuple[int, ...]:
    sizes = sorted(set(map(len, column))) or [0]
    numbers = NUMBERS.get(key, 1)
    if len(sizes) > 1:
        raise InputError(
            f"Sequences of {sizes[0] // numbers} to {sizes[-1] // numbers} tokens cannot be stacked into a tensor: "
            f"pass padding=True, and truncation=True where they are longer than the model takes."
        )
    shape = (len(column), sizes[0] // numbers)
    return shape if numbers == 1 else (*shape, numbers)


FORMATS: Mapping[Any, BatchFormat] = {
    None: BatchFormat(as_list, LISTS, _list_padding, lambda _, column: column, list),
    "pt": BatchFormat(as_array, ARRAYS, _array_padding, as_torch, lambda row: as_torch("", [as_array(row)])[0]),
    "np": BatchFormat(as_array, ARRAYS, _array_padding, as_numpy, lambda row: as_numpy("", [as_array(row)])[0]),
}
"""Values of ``return_tensors=``, and the format that they name."""


def padded(column: list[Any], length: int, padding: Any, side: str = "right") -> list[Any]:
    """Rows of at least ``length`` tokens, filled on one side with ``padding`` for each that they lack."""
    sizes = [len(row) // len(padding) for row in column]
    if side == "left":
        return [padding * (length - size) + row for row, size in zip(column, sizes, strict=True)]
    return [row + padding * (length - size) if size < length else row for row, size in zip(column, sizes, strict=True)]
