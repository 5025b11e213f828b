"""Files of vectors, written row by row: a header with the number of rows, then 32-bit floats.

Each header is written before the first row, so that no file has to fit into memory.  numpy's comes from numpy; the
library safetensors writes only complete tensors in memory, so its header is made by the module that also reads it.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from attrs import frozen
from torch import Tensor, float32

from registry.errors import SaveError
from registry.formatting import json_text
from registry.weights.headers import Header
from registry.weights.safetensors import header_bytes

NAME = "vectors"
"""The name of the tensor in a file of tensors."""


@frozen
class VectorFormat:
    """How vectors are written."""

    header: Callable[[int, int], bytes]
    """The bytes before the rows, for a number of rows and of elements in each."""
    body: Callable[[Sequence[str], Tensor], bytes]
    """The bytes of some texts and their vectors, ``(texts, width)``."""


def json_lines(texts: Sequence[str], vectors: Tensor) -> bytes:
    """One object a line, the text and its vector; nine digits give back every bit of a 32-bit float."""
    lines = []
    for text, vector in zip(texts, vectors.tolist(), strict=True):
        numbers = ", ".join(f"{number:.9g}" for number in vector)
        lines.append(f'{{"text": {json_text(text)}, "vector": [{numbers}]}}\n')
    return "".join(lines).encode("utf-8", "surrogatepass")


def _floats(_texts: Sequence[str], vectors: Tensor) -> bytes:
    """The memory of the elements, in the order of little-endian machines, which torch runs on."""
    vectors = vectors.to("cpu", float32).contiguous()
    return ctypes.string_at(vectors.data_ptr(), vectors.nbytes)


def _npy_header(rows: int, width: int) -> bytes:
    """The header of numpy's format.  Raises SaveError where numpy, which nothing else here needs, is not installed."""
    try:
        from numpy.lib import format as npy
    except ModuleNotFoundError as problem:
        raise SaveError(
            "A .npy file needs numpy, which is not installed.", hint="Run `pip install numpy`."
        ) from problem
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    return file.getvalue()


def _safetensors_header(rows: int, width: int) -> bytes:
    return header_bytes({NAME: Header((rows, width), "float32", 4 * rows * width)})


FORMATS: Mapping[str, VectorFormat] = {
    "jsonl": VectorFormat(lambda _rows, _width: b"", json_lines),
    "npy": VectorFormat(_npy_header, _floats),
    "safetensors": VectorFormat(_safetensors_header, _floats),
}
"""By the ending of the file."""


def write_vectors(
    path: Path, kind: VectorFormat, rows: int, width: int, batches: Iterable[tuple[Sequence[str], Tensor]]
) -> None:
    """Write vectors to a file, each batch before the next one is asked for.

    Args:
        path: The file.
        kind: Its format.
        rows: Vectors in all batches.
        width: Elements of a vector.
        batches: Some texts at a time, with their vectors, ``(texts, width)``.
    """
    with path.open("wb") as file:
        file.write(kind.header(rows, width))
        for texts, vectors in batches:
            file.write(kind.body(texts, vectors))
