"""The header of a GGUF file: its keys, and where which tensor is.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.  Nothing here needs torch, or reads a tensor.  Sizes
that a file gives are compared with the bytes that are there, and with limits, before anything is made of them.
"""

import mmap
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from struct import Struct, unpack_from
from typing import Any

from attrs import frozen

from registry.errors import (
    AmbiguousWeightsError,
    CorruptWeightsError,
    RegistryError,
    UnsupportedError,
    WeightsLimitError,
)
from registry.records import Paths
from registry.weights.headers import Header

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LARGEST_HEADER = 2**26
"""Bytes: three times those of the largest vocabularies that are published."""
MOST_ITEMS = 2**22
"""Items of all arrays, among them tokens, their scores and merge rules."""
MOST_ENTRIES = 20_000
"""Keys, and likewise tensors."""
MOST_AXES = 4
LARGEST_NUMBER = 2**63
"""The product of a shape's sizes stays below this."""
DEFAULT_ALIGNMENT = 32

TEXT, ARRAY, BOOLEAN = 8, 9, 7
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""Types of values that are numbers, as ``struct`` writes them."""
U32, U64 = Struct("<I"), Struct("<Q")

TYPES = {
    0: ("float32", 1, 4),
    1: ("float16", 1, 2),
    30: ("bfloat16", 1, 2),
    2: ("q4_0", 32, 18),
    8: ("q8_0", 32, 34),
    12: ("q4_k", 256, 144),
    14: ("q6_k", 256, 210),
}
"""Types of tensors that are read: the name, the elements of a block, and its bytes."""


@frozen
class StoredTensor:
    """Where a tensor is in a file."""

    header: Header
    """Its shape, and the bytes that it takes in the file; ``dtype`` is a name in ``TYPES``."""
    offset: int
    """Where they begin, from the start of the file."""


@frozen
class GGUF:
    """What the header of a file says."""

    path: Path
    """The file."""
    keys: Mapping[str, Any]
    """Its keys: texts, numbers and lists of one of them."""
    tensors: Mapping[str, StoredTensor]
    """Its tensors, by their names in the file."""

    @property
    def architecture(self) -> str:
        """The architecture, by llama.cpp's word for it, with which the keys about it begin."""
        return str(self.keys.get("general.architecture"))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key about the architecture: ``get("block_count")`` is that of ``llama.block_count``."""
        return self.keys.get(f"{self.architecture}.{key}", default)


# --- Files ------------------------------------------------------------------------------------------------------------


def detect(paths: Paths) -> bool:
    """Whether there is a GGUF file among ``paths``; reads 4 bytes, and needs no torch."""
    return any(_begins(path) for path in _candidates(paths).values())


def headers(paths: Paths) -> Mapping[str, Header]:
    """The headers of the tensors among ``paths``.  Errors are those of ``read``."""
    return {name: tensor.header for name, tensor in read(paths).tensors.items()}


def read(paths: Paths) -> GGUF:
    """The header of the GGUF file among ``paths``.

    Raises:
        AmbiguousWeightsError: There are several, and none is called ``model.gguf``.
        CorruptWeightsError: The file is damaged.
        UnsupportedError: It is of another version, or a tensor is of a type that is not read.
        WeightsLimitError: The header is larger than any that is needed.
    """
    found = {name: path for name, path in _candidates(paths).items() if _begins(path)}
    if len(found) > 1 and "model.gguf" not in found:
        raise AmbiguousWeightsError(
            f"There are several models in one directory: {', '.join(sorted(found))}.",
            hint="Give the path of the file that is meant.",
        )
    return read_file(found.get("model.gguf") or next(iter(found.values())))


def _candidates(paths: Paths) -> Paths:
    """The files that may be of this format: one that comes alone may have any name."""
    return paths if len(paths) == 1 else {name: path for name, path in paths.items() if name.endswith(".gguf")}


def _begins(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


# --- The header -------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> GGUF:
    """The header of a file.  Errors are those of ``read``."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Cursor(path, data, os.fstat(file.fileno()).st_size).gguf()
    except (OSError, ValueError) as problem:  # a ValueError of mmap for an empty file
        if isinstance(problem, RegistryError):
            raise
        raise CorruptWeightsError(f"{path} cannot be read: {problem}.") from problem


class _Cursor:
    """Reads a header from its start to its end."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path, self.data, self.size = path, data, size
        self.at = len(MAGIC)
        self.items = 0

    def gguf(self) -> GGUF:
        """All of the header."""
        version = self.number(U32)
        if version not in VERSIONS:
            raise UnsupportedError(
                f"{self.path} is of version {version} of GGUF; {' and '.join(map(str, VERSIONS))} are read.",
                hint="Numbers of a machine with the other order of bytes look like this, too." if version > 999 else "",
            )
        tensors, keys = self.count(MOST_ENTRIES, "tensors"), self.count(MOST_ENTRIES, "keys")
        found = self.unique("key", keys, self.value)
        if found.get("split.count", 1) not in (0, 1):
            raise UnsupportedError(
                f"{self.path} is a part of a model of {found['split.count']} files.",
                hint="Join them first: llama-gguf-split --merge FIRST.gguf model.gguf",
            )
        stored = self.unique("tensor", tensors, self.tensor)
        return GGUF(self.path, found, self.placed(stored, found.get("general.alignment", DEFAULT_ALIGNMENT)))

    def unique(self, noun: str, count: int, read: Any) -> dict[str, Any]:
        """So many entries by their names, none of which stands twice."""
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.text()
            if name in found:
                raise self.damaged(f"the {noun} {name!r:.80} stands twice")
            found[name] = read()
        return found

    # --- Values

    def take(self, count: int) -> int:
        """Step over so many bytes; returns where they begin."""
        begin = self.at
        if count > self.size - begin:
            raise self.damaged(f"{count:,} bytes are announced at byte {begin:,}, where {self.size - begin:,} follow")
        self.at += count
        if self.at > LARGEST_HEADER:
            raise WeightsLimitError(f"{self.path} has a header of more than {LARGEST_HEADER:,} bytes.")
        return begin

    def number(self, kind: Struct) -> int:
        """A number that counts, or says which."""
        return int(kind.unpack_from(self.data, self.take(kind.size))[0])

    def count(self, most: int, noun: str) -> int:
        """A number of things, up to a limit."""
        found = self.number(U64)
        if found > most:
            raise WeightsLimitError(f"{self.path} announces {found:,} {noun}, where {most:,} are the most.")
        return found

    def text(self) -> str:
        """A text in UTF-8, behind its length."""
        begin = self.take(self.number(U64))
        try:
            return self.data[begin : self.at].decode()
        except UnicodeDecodeError as problem:
            raise self.damaged(f"the text at byte {begin:,} is not UTF-8: {problem.reason}") from problem

    def texts(self, count: int) -> list[str]:
        """So many texts; a vocabulary has hundreds of thousands."""
        data, limit, length = self.data, min(self.size, LARGEST_HEADER), U64.unpack_from
        found = []
        for _ in range(count):
            begin = self.at + U64.size
            end = begin + length(data, self.at)[0] if begin <= limit else begin
            if end > limit:
                self.text()  # raises the error
            found.append(data[begin:end])
            self.at = end
        try:
            return [text.decode() for text in found]
        except UnicodeDecodeError as problem:
            raise self.damaged(f"a text before byte {self.at:,} is not UTF-8: {problem.reason}") from problem

    def value(self) -> Any:
        """A value, behind its type."""
        kind = self.number(U32)
        if kind != ARRAY:
            return self.several(kind, 1)[0]
        kind, count = self.number(U32), self.count(MOST_ITEMS, "items of an array")
        self.items += count
        if self.items > MOST_ITEMS:
            raise WeightsLimitError(f"{self.path} has arrays of more than {MOST_ITEMS:,} items.")
        return self.several(kind, count)

    def several(self, kind: int, count: int) -> list[Any]:
        """Values of one type."""
        if kind == TEXT:
            return self.texts(count)
        if kind not in NUMBERS:
            what = "an array in an array" if kind == ARRAY else f"a value of the type {kind}"
            raise UnsupportedError(f"{self.path} has {what} before byte {self.at:,}, which no model needs.")
        pattern = Struct(f"<{NUMBERS[kind]}")
        found = list(unpack_from(f"<{count}{NUMBERS[kind]}", self.data, self.take(count * pattern.size)))
        return list(map(bool, found)) if kind == BOOLEAN else found

    # --- Tensors

    def tensor(self) -> tuple[Header, int]:
        """The header of a tensor, and its offset among the tensors."""
        axes = self.number(U32)
        if axes > MOST_AXES:
            raise self.damaged(f"a tensor has {axes:,} axes, where {MOST_AXES} are the most")
        shape = tuple(self.number(U64) for _ in range(axes))[::-1]  # the axis that changes fastest stands first
        kind, offset = self.number(U32), self.number(U64)
        if kind not in TYPES:
            types = ", ".join(name for name, *_ in TYPES.values())
            raise UnsupportedError(
                f"{self.path} has a tensor of the type {kind} of ggml; read are {types}.",
                hint="Write it in one of these: llama-quantize --allow-requantize FILE.gguf q8_0",
            )
        dtype, elements, size = TYPES[kind]
        if not shape or 0 in shape or prod(shape) >= LARGEST_NUMBER or shape[-1] % elements:
            raise self.damaged(f"a tensor of {dtype} has the shape {shape}")
        return Header(shape, dtype, prod(shape) // elements * size), offset

    def placed(self, tensors: Mapping[str, tuple[Header, int]], alignment: Any) -> dict[str, StoredTensor]:
        """The tensors where they are in the file: none beyond its end, and no two in one place."""
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise self.damaged(f"its alignment is {alignment!r:.40}, which is not a power of two")
        start = -(-self.at // alignment) * alignment
        end = start
        found = {}
        for name, (header, offset) in sorted(tensors.items(), key=lambda item: item[1][1]):
            begin = start + offset
            if offset % alignment or begin < end:
                raise self.damaged(f"the tensor {name!r:.80} overlaps another, or its offset {offset:,} is not aligned")
            end = begin + header.nbytes
            if end > self.size:
                raise self.damaged(f"the tensor {name!r:.80} ends at byte {end:,} of {self.size:,}")
            found[name] = StoredTensor(header, begin)
        return found

    def damaged(self, fault: str) -> CorruptWeightsError:
        """The error for a damaged file."""
        return CorruptWeightsError(f"{self.path} is damaged: {fault}.", hint="Fetch it again.")
