"""Weights as OpenAI published those of its first GPT: the elements of all arrays in one row, cut into files of numpy.

``params_shapes.json`` lists the shapes of the arrays, ``params_0.npy``, ``params_1.npy`` and so on hold the elements,
and ``parameters_names.json``, which is not always there, the names.  Format of the files:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.  They are read without numpy, whose reader
evaluates headers as Python.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry.errors import (
    ConfigError,
    CorruptWeightsError,
    UnsafeWeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.files.filenames import NUMPY_NAMES_NAME, NUMPY_SHAPES_NAME
from registry.files.strict_json import read_json_array
from registry.records import Paths
from registry.weights.headers import Header
from registry.weights.shards import LazyTensors, OneSet, start

if TYPE_CHECKING:
    from torch import Tensor

SHARD = re.compile(r"params_(0|[1-9][0-9]{0,3})\.npy")

MAGIC = b"\x93NUMPY"
LENGTHS = {1: 2, 2: 4, 3: 4}
"""Version of the format -> bytes of the length of the header."""
LONGEST_HEADER = 4096
TYPES = {
    "<f2": ("float16", 2), "<f4": ("float32", 4), "<f8": ("float64", 8),
    "<i4": ("int32", 4), "<i8": ("int64", 8), "|u1": ("uint8", 1),
}  # fmt: skip
"""numpy's name of a type -> torch's name for it, and the bytes of an element."""

MOST_ARRAYS = 20_000
MOST_AXES = 8
MOST_VALUES = 200_000
"""JSON values in each of the two lists."""
LARGEST_SIZE = 2**40

_PAIR = r"'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^'\\]*'|True|False|\([0-9, ]*\))"
_HEADER = re.compile(rf"\{{\s*{_PAIR}(?:\s*,\s*{_PAIR})*\s*,?\s*\}}\s*")
_ROW = re.compile(r"\( *([0-9]{1,15}) *,? *\)")
_KEYS = re.compile(r"'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([^)]*\))")


# --- Which files ------------------------------------------------------------------------------------------------------


class ShardNames(OneSet):
    """The file names of this format."""

    wanted = f"arrays of numpy ({NUMPY_SHAPES_NAME} and params_0.npy)"

    def claimed(self, paths: Paths) -> str | None:
        """The name of a shard among ``paths``, where there is a list of shapes; else None."""
        if NUMPY_SHAPES_NAME not in paths:
            return None
        return next((name for name in sorted(paths) if SHARD.fullmatch(name)), None)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the weights."""
        names = (NUMPY_SHAPES_NAME, NUMPY_NAMES_NAME, *_shard_names(paths))
        return tuple(name for name in names if name in paths)


FILES = ShardNames()


def detect(paths: Paths) -> bool:
    """Whether there is a list of shapes among ``paths``, and a shard that begins as files of numpy do."""
    shards = [name for name in paths if SHARD.fullmatch(name)]
    return NUMPY_SHAPES_NAME in paths and bool(shards) and start(paths[shards[0]], len(MAGIC)) == MAGIC


def _shard_names(paths: Paths) -> list[str]:
    """The names of the shards, in their order."""
    return sorted(filter(SHARD.fullmatch, paths), key=lambda name: int(name[7:-4]))


# --- What is in them --------------------------------------------------------------------------------------------------


def read_shapes(paths: Paths) -> list[tuple[int, ...]]:
    """The shapes of the arrays, in their order.

    Raises:
        ConfigError: The file is damaged, or lists something else.
    """
    shapes = read_json_array(paths[NUMPY_SHAPES_NAME], values=MOST_VALUES)
    for number, shape in enumerate(shapes):
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size <= LARGEST_SIZE for size in shape):
            raise ConfigError(f"{paths[NUMPY_SHAPES_NAME]}: entry {number} must be a list of sizes, not {shape!r:.80}.")
    if len(shapes) > MOST_ARRAYS or any(len(shape) > MOST_AXES for shape in shapes):
        raise ConfigError(
            f"{paths[NUMPY_SHAPES_NAME]} lists more than {MOST_ARRAYS:,} arrays, or one of over {MOST_AXES} axes."
        )
    return [tuple(shape) for shape in shapes]


def read_names(paths: Paths) -> list[str] | None:
    """The names in ``parameters_names.json``; None where there is no such file.

    Raises:
        ConfigError: The file is damaged, or lists something else.
    """
    if NUMPY_NAMES_NAME not in paths:
        return None
    names = read_json_array(paths[NUMPY_NAMES_NAME], values=MOST_VALUES)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{paths[NUMPY_NAMES_NAME]} must be a list of names.")
    return names


def headers(paths: Paths, names: Sequence[str] | None = None) -> dict[str, Header]:
    """The headers of the arrays; needs no torch.  Arguments and errors are those of ``load``."""
    return {name: header for name, (header, _) in _arrays(paths, names)[0].items()}


def load(paths: Paths, names: Sequence[str] | None = None) -> "Mapping[str, Tensor]":
    """The arrays among ``paths``, mapped from disk; one that is in several files is joined when it is looked up.

    Args:
        paths: The files, by name.
        names: The names of the arrays, in their order; by default their numbers.

    Raises:
        CorruptWeightsError: A file is missing or damaged, or shapes, names and files disagree.
        UnsafeWeightsError: A file holds objects of Python.
        ConfigError: A list of shapes is none.
        WeightsLimitError: A header is longer than any that is needed.
        WeightsMismatchError: A file is of a type that no weights have.
    """
    arrays, shards = _arrays(paths, names)
    row_of = cache(partial(_row, paths))
    return LazyTensors(
        {name: partial(_read, header, begin, shards, row_of) for name, (header, begin) in arrays.items()}
    )


@frozen
class Shard:
    """The header of one file of numpy."""

    name: str
    dtype: str
    itemsize: int
    offset: int
    """Where its elements begin."""
    count: int
    """How many elements it has."""


def _arrays(paths: Paths, names: Sequence[str] | None) -> tuple[dict[str, tuple[Header, int]], list[Shard]]:
    """Each array with the number of elements before it, and the shards."""
    shapes, shards = read_shapes(paths), _shards(paths)
    sizes = [prod(shape) for shape in shapes]
    held = sum(shard.count for shard in shards)
    if held != sum(sizes):
        raise CorruptWeightsError(
            f"The shapes in {paths[NUMPY_SHAPES_NAME]} need {sum(sizes):,} numbers, and params_0.npy to "
            f"{shards[-1].name} hold {held:,}.",
            hint="A file is missing or cut short: download them again.",
        )
    if names is None:
        names = [str(number) for number in range(len(shapes))]
    if len(names) != len(shapes) or len(set(names)) < len(names):
        raise CorruptWeightsError(
            f"{paths[NUMPY_SHAPES_NAME]} lists {len(shapes):,} arrays, where {len(set(names)):,} have a name "
            f"({NUMPY_NAMES_NAME})."
        )
    begins = accumulate(sizes, initial=0)
    kind = shards[0]
    return {
        name: (Header(shape, kind.dtype, size * kind.itemsize), begin)
        for name, shape, size, begin in zip(names, shapes, sizes, begins, strict=False)
    }, shards


def _shards(paths: Paths) -> list[Shard]:
    """The shards in their order, none missing, all of one type."""
    names = _shard_names(paths)
    missing = {f"params_{number}.npy" for number in range(len(names))} - set(names)
    if missing:
        raise CorruptWeightsError(
            f"{', '.join(sorted(missing))} is missing next to {paths[NUMPY_SHAPES_NAME]}, where {names[-1]} is.",
            hint="Download the missing file: the numbers of all others depend on it.",
        )
    shards = [_read_header(paths[name], name) for name in names]
    other = next((shard for shard in shards if shard.dtype != shards[0].dtype), None)
    if other is not None:
        raise CorruptWeightsError(
            f"{other.name} next to {paths[NUMPY_SHAPES_NAME]} holds {other.dtype}, params_0.npy {shards[0].dtype}."
        )
    return shards


# --- One file of numpy ------------------------------------------------------------------------------------------------


def _read_header(path: Path, name: str) -> Shard:
    """The header of a file of numpy, which must have just the size that it says.  Errors are those of ``load``."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(LONGEST_HEADER + len(MAGIC) + 6)
    if not data.startswith(MAGIC) or len(data) < 8 or data[6] not in LENGTHS:
        raise CorruptWeightsError(f"{path} is damaged: it does not begin as a file of numpy does.")
    begin = 8 + LENGTHS[data[6]]
    length = int.from_bytes(data[8:begin], "little")
    if length > LONGEST_HEADER:
        raise WeightsLimitError(f"{path} has a header of {length:,} bytes; the maximum is {LONGEST_HEADER:,}.")
    text = data[begin : begin + length].decode("latin-1")
    keys = dict(_KEYS.findall(text)) if _HEADER.fullmatch(text) else {}
    if len(text) < length or len(keys) != 3 or text.count(":") != 3:
        raise CorruptWeightsError(f"{path} is damaged: its header is invalid.")
    return _shard(path, name, keys, begin + length, size)


def _shard(path: Path, name: str, keys: Mapping[str, str], offset: int, size: int) -> Shard:
    descr = keys["descr"].strip("'")
    if "O" in descr:
        raise UnsafeWeightsError(f"{path} holds objects of Python, which could run code; nothing was loaded.")
    if descr not in TYPES:
        raise WeightsMismatchError(f"{path} holds {descr!r:.40}; weights are of {', '.join(TYPES)}.")
    dtype, itemsize = TYPES[descr]
    row = _ROW.fullmatch(keys["shape"])
    count = -1 if row is None else int(row[1])
    if keys["fortran_order"] != "False" or count * itemsize != size - offset:
        raise CorruptWeightsError(
            f"{path} is damaged: it says that it holds {keys['shape']:.100} numbers of {itemsize} bytes in one row, "
            f"and has {size - offset:,} bytes for them."
        )
    return Shard(name, dtype, itemsize, offset, count)


def _row(paths: Paths, shard: Shard) -> "Tensor":
    """All elements of a shard, mapped."""
    from registry.weights.mapped import MappedFile

    row = Header((shard.count,), shard.dtype, shard.count * shard.itemsize)
    return MappedFile(paths[shard.name]).tensor(shard.offset, row)


def _read(header: Header, begin: int, shards: Sequence[Shard], row_of: "Callable[[Shard], Tensor]") -> "Tensor":
    """An array: a view of the shard that holds it, or a copy of what several hold."""
    import torch

    parts, end = [], begin + prod(header.shape)
    for shard in shards:
        if begin < shard.count and end > 0:
            parts.append(row_of(shard)[max(begin, 0) : min(end, shard.count)])
        begin, end = begin - shard.count, end - shard.count
    if not parts:
        return torch.empty(header.shape, dtype=getattr(torch, header.dtype))
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(header.shape)
