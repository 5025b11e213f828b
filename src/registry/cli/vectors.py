"""Files of vectors, written row by row: a header that says how many there will be, then 32-bit floats.

Each format takes what it needs to know before the first row, so that no file has to fit into memory.
"""

import ctypes
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from torch import Tensor, float32

NAME = "vectors"
"""What the tensor is called in a file of tensors."""


@frozen
class VectorFormat:
    """How vectors are written."""

    header: Callable[[int, int], bytes]
    """What comes first, for a number of rows and of numbers in each."""
    body: Callable[[Sequence[str], Tensor], bytes]
    """Some texts and their vectors, ``(texts, width)``."""


def json_lines(texts: Sequence[str], vectors: Tensor) -> bytes:
    """One object a line, the text and its vector; nine digits give back every bit of a 32-bit float."""
    lines = []
    for text, vector in zip(texts, vectors.tolist(), strict=True):
        numbers = ", ".join(f"{number:.9g}" for number in vector)
        lines.append(f'{{"text": {json.dumps(text, ensure_ascii=False)}, "vector": [{numbers}]}}\n')
    return "".join(lines).encode("utf-8", "surrogatepass")


def _floats(_texts: Sequence[str], vectors: Tensor) -> bytes:
    """The memory of the numbers, in the order of little-endian machines, which torch runs on."""
    vectors = vectors.to("cpu", float32).contiguous()
    return ctypes.string_at(vectors.data_ptr(), vectors.nbytes)


def _npy_header(rows: int, width: int) -> bytes:
    """The header of numpy's format, version 1.0 (numpy.lib.format): its length makes the numbers begin at n x 64."""
    about = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    about += " " * (-(10 + len(about) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about)) + about.encode("ascii")


def _safetensors_header(rows: int, width: int) -> bytes:
    """The header of safetensors: its length in 8 bytes, then names, types, shapes and places as JSON."""
    tensor = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, 4 * rows * width]}
    about = json.dumps({NAME: tensor}).encode()
    about += b" " * (-len(about) % 8)
    return struct.pack("<Q", len(about)) + about


FORMATS: Mapping[str, VectorFormat] = {
    "jsonl": VectorFormat(lambda _rows, _width: b"", json_lines),
    "npy": VectorFormat(_npy_header, _floats),
    "safetensors": VectorFormat(_safetensors_header, _floats),
}
"""By the ending of the file."""


def write_vectors(
    path: Path, kind: VectorFormat, rows: int, width: int, batches: Iterable[tuple[Sequence[str], Tensor]]
) -> None:
    """Write ``batches`` of texts and their vectors, ``(texts, width)``, ``rows`` in all."""
    with path.open("wb") as file:
        file.write(kind.header(rows, width))
        for texts, vectors in batches:
            file.write(kind.body(texts, vectors))
