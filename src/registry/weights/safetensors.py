"""Weights as safetensors: a header in JSON, then the bytes of the tensors.

Format: https://github.com/huggingface/safetensors#format.  The header is checked more strictly than by the library of
that name: no name twice, no bytes outside tensors, nothing that the format does not define.  The tensors are mapped
here, too: the library touches each of them when it opens a file, and the kernel then reads what is around.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsError, WeightsLimitError
from registry.files.filenames import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from registry.files.signatures import JSON
from registry.files.strict_json import MEBIBYTE, most_values, parse_json_object
from registry.records import Paths
from registry.weights.headers import Header, Headers
from registry.weights.shards import FileNames, LazyTensors, load_files, read_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FILES = FileNames(SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)

LARGEST_HEADER = 16 * MEBIBYTE
MOST_TENSORS = 20_000
MOST_AXES = 8
LARGEST_NUMBER = 2**63
"""The product of a shape's sizes stays below this, zeros dropped where a tensor is empty."""
MOST_VALUES = 400_000
"""JSON values in a header; seven or more for each tensor."""
LENGTH = 8
"""Bytes of the length of the header, little-endian, with which a file begins."""

BITS = {
    **dict.fromkeys(["F4"], 4),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"], 8),
    **dict.fromkeys(["U16", "I16", "F16", "BF16"], 16),
    **dict.fromkeys(["U32", "I32", "F32"], 32),
    **dict.fromkeys(["U64", "I64", "F64", "C64"], 64),
}
"""Bits of an element of each type."""
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "BF16": "bfloat16",
    "C64": "complex64",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (16, 32, 64)},
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
}
"""The names that torch has for the types which it shares."""
PAIRS, PAIRED_DTYPE = "F4", "float4_e2m1fn_x2"
"""The type of which torch keeps two in one element, and what torch calls that."""
METADATA = "__metadata__"
"""The entry of the header that is not a tensor."""
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
"""The texts of a header."""


# --- Reading ----------------------------------------------------------------------------------------------------------


def detect(paths: Paths) -> bool:
    """Whether the weights among ``paths`` begin as safetensors do; reads 512 bytes, and needs no torch."""
    return FILES.begin(paths, lambda start: start[LENGTH - 1 : LENGTH + 1] == b"\x00{")


def load(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors among ``paths``, mapped from disk: the bytes of one are read when its values are first needed.

    Args:
        paths: The files, by name.

    Raises:
        MissingFileError: No file is of this format.
        CorruptWeightsError: A file is damaged, or index and shards disagree.
        UnsafeWeightsError: Two readers could understand a file differently.
        WeightsLimitError: A header is larger than any that is needed.
    """
    return load_files(paths, FILES, read)


def read(path: Path) -> LazyTensors:
    """The tensors of one file; a tensor that is looked up twice has the same memory.  Errors are those of ``load``."""
    from registry.weights.mapped import MappedFile

    with _opened(path) as file:
        found, begin = _checked(file, path)
        mapped = MappedFile(path, file.fileno())
    return LazyTensors(
        {
            name: partial(mapped.tensor, begin + entry["data_offsets"][0], _header(entry))
            for name, entry in found.items()
        }
    )


def headers(paths: Paths) -> Headers:
    """The headers of the tensors among ``paths``; needs no torch.  Errors are those of ``load``."""
    return read_headers(paths, FILES, read_file_headers)


def read_file_headers(path: Path) -> dict[str, Header]:
    """The headers of the tensors of one file.  Errors are those of ``load``."""
    return {name: _header(entry) for name, entry in check_header(path).items()}


def _header(entry: dict[str, Any]) -> Header:
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    if entry["dtype"] == PAIRS:
        return Header((*shape[:-1], shape[-1] // 2), PAIRED_DTYPE, end - begin)
    return Header(shape, DTYPES[entry["dtype"]], end - begin)


# --- The header -------------------------------------------------------------------------------------------------------


def header_bytes(tensors: Headers, metadata: "Mapping[str, str] | None" = None) -> bytes:
    """The bytes before those of the tensors, which follow in this order.

    Args:
        tensors: The header of each tensor.
        metadata: Texts about the file.

    Raises:
        KeyError: A dtype is not torch's.
    """
    types = {dtype: kind for kind, dtype in DTYPES.items()}
    entries: dict[str, Any] = {} if metadata is None else {METADATA: dict(metadata)}
    end = 0
    for name, header in tensors.items():
        begin, end = end, end + header.nbytes
        entries[name] = {"dtype": types[header.dtype], "shape": header.shape, "data_offsets": (begin, end)}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text


def check_header(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of all tensors in the header of a file, which is well formed.  Errors are those of ``load``."""
    with _opened(path) as file:
        return _checked(file, path)[0]


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as problem:
        if problem.errno == errno.ENOMEM:
            raise MemoryError(f"{path} cannot be mapped: {problem.strerror}.") from problem
        raise CorruptWeightsError(f"{path} cannot be read: {problem.strerror}.") from problem


def _checked(file: IO[bytes], path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The entries of all tensors, and the offset at which the bytes of the first one begin."""
    header, begin, size = _read_header(file, path)
    tensors = {name: entry for name, entry in header.items() if name != METADATA}
    if len(tensors) > MOST_TENSORS:
        raise WeightsLimitError(f"{path} holds {len(tensors):,} tensors; the maximum is {MOST_TENSORS:,}.")
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptWeightsError(f"{path} is damaged: its metadata must map texts to texts.")
    end = 0
    for start, stop, name in sorted((*_offsets(path, name, entry), name) for name, entry in tensors.items()):
        if start != end:
            fault = "overlaps the one before it" if start < end else "leaves a hole before it"
            raise CorruptWeightsError(f"{path} is damaged: the tensor {name!r} {fault}.")
        end = stop
    if end != size:
        raise CorruptWeightsError(f"{path} is damaged: its tensors take {end:,} bytes, and it has {size:,} for them.")
    return tensors, begin


def _read_header(file: IO[bytes], path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, and offset and number of the bytes after it."""
    size = os.fstat(file.fileno()).st_size - LENGTH
    length = int.from_bytes(file.read(LENGTH), "little")
    text = file.read(length) if 0 < length <= min(size, LARGEST_HEADER) else b""
    if not 0 < length <= size:
        raise CorruptWeightsError(
            f"{path} is damaged: its header should have {length:,} bytes, and {max(size, 0):,} follow."
        )
    if length > LARGEST_HEADER:
        raise WeightsLimitError(f"{path} has a header of {length:,} bytes; the maximum is {LARGEST_HEADER:,}.")
    if not text.startswith(JSON):
        raise UnsafeWeightsError(f"{path} has a header that begins with {text[:1]!r}, not with '{{'.")
    if most_values(text) > MOST_VALUES:
        raise WeightsLimitError(f"{path} has a header of more than {MOST_VALUES:,} values.")
    header = parse_json_object(
        text, origin=f"The header of {path}", error=CorruptWeightsError, duplicate_error=UnsafeWeightsError
    )
    if b"-0" in text and b"-0" in TEXTS.sub(b"", text):
        raise CorruptWeightsError(f"{path} is damaged: its header has the number -0, where the format counts.")
    if b"\\u" in text and not _is_unicode(header):
        raise CorruptWeightsError(f"{path} is damaged: a text of its header has half of a character.")
    return header, LENGTH + length, size - length


def _is_unicode(header: dict[str, Any]) -> bool:
    """Whether all names and texts can be encoded: an escape may be half of a pair."""
    metadata = header.get(METADATA)
    texts = [*header, *(chain.from_iterable(metadata.items()) if isinstance(metadata, dict) else ())]
    try:
        "".join(text for text in texts if isinstance(text, str)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _offsets(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """The offsets at which the bytes of a tensor begin and end, as many as its type and shape ask for."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise CorruptWeightsError(f"{path} is damaged: {name!r} lacks a type, a shape or offsets.")
    if len(entry) > 3:
        raise UnsafeWeightsError(f"{path} says of {name!r} what the format does not define: {', '.join(entry)}.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_sizes(shape) and _sizes(offsets) and len(offsets) == 2 and isinstance(dtype, str) and dtype in BITS):
        raise CorruptWeightsError(
            f"{path} is damaged: {name!r} has the type {dtype!r:.40}, shape {shape!r:.80}, offsets {offsets!r:.80}."
        )
    begin, end = offsets
    if len(shape) > MOST_AXES:
        raise WeightsLimitError(f"{path}: {name!r} has {len(shape):,} axes; the maximum is {MOST_AXES}.")
    if dtype not in DTYPES and not (dtype == PAIRS and shape and shape[-1] % 2 == 0):
        raise WeightsError(f"{path}: {name!r} has the type {dtype} and the shape {shape!r:.80}, unknown to torch.")
    if prod(filter(None, shape)) >= LARGEST_NUMBER:
        raise CorruptWeightsError(
            f"{path} is damaged: {name!r} has the shape {shape!r:.80}, which is larger than any real tensor."
        )
    if prod(shape) * BITS[dtype] != (end - begin) * 8:
        raise CorruptWeightsError(f"{path} is damaged: {name!r} has the shape {shape} and {end - begin:,} bytes.")
    return begin, end


def _sizes(value: object) -> bool:
    """Whether this is a list of integers, none of which is negative."""
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)
