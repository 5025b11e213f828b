"""The index of a TensorFlow checkpoint: what each tensor looks like, and where its bytes are.

It is a sorted table of messages: ``BundleHeaderProto`` under the empty key, a ``BundleEntryProto`` for each tensor
under its name, and one for each piece of a tensor that lies in several.  (``tensor_bundle.proto``,
``tensor_shape.proto``, ``tensor_slice.proto`` and ``types.proto``, in the folders tensorflow/core/protobuf and
tensorflow/core/framework of https://github.com/tensorflow/tensorflow.)
"""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from attrs import frozen

from registry.errors import CorruptWeightsError, WeightsLimitError
from registry.files.protobuf import Malformed, Message, message, signed
from registry.files.strict_json import MEBIBYTE
from registry.records import Paths
from registry.weights.headers import Header
from registry.weights.tensorflow.slices import in_order, key_of, parse_slice, shape_of
from registry.weights.tensorflow.table import read_table

INDEX = ".index"

LARGEST_INDEX = 8 * MEBIBYTE
MOST_AXES = 8

TYPES = {
    1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2), 6: ("int8", 1),
    9: ("int64", 8), 10: ("bool", 1), 14: ("bfloat16", 2), 19: ("float16", 2),
}  # fmt: skip
"""Number of a type -> torch's word for it, and the bytes of one number."""
OTHER_TYPES = {7: "string", 8: "complex64", 17: "uint16", 18: "complex128", 20: "resource", 21: "variant", 22: "uint32"}
"""Types that no weights have; their tensors are listed, and cannot be read."""


@frozen(kw_only=True)
class Entry:
    """What the index says of one tensor, or of one slice of it."""

    header: Header
    shard: str
    """Name of the file with its bytes."""
    offset: int
    """Where in it they begin."""
    checksum: int
    """Masked CRC-32C of the bytes."""
    pieces: "tuple[Entry, ...]" = ()
    """Where the tensor lies in pieces: those, in their order."""
    axis: int = 0
    """The axis along which they follow each other."""


def read_index(prefix: str, paths: Paths) -> dict[str, Entry]:
    """All entries of the index of the checkpoint ``prefix``, each within its shard, its size that of its shape.

    Raises CorruptWeightsError, and WeightsLimitError.
    """
    path = paths[prefix + INDEX]
    with path.open("rb") as file:
        data = file.read(LARGEST_INDEX + 1)
    if len(data) > LARGEST_INDEX:
        raise WeightsLimitError(f"{path} has more than {LARGEST_INDEX:,} bytes, where an index has some thousands.")
    table = read_table(data, str(path))
    try:
        sizes = _shards(table.pop(b"", b""), prefix, path, paths)
        messages = {key: message(value) for key, value in table.items()}
        pieces = {key: _entry(key, found, path, sizes) for key, found in messages.items() if key[:1] == b"\0"}
        if sum(len(found.get(7, [])) for found in messages.values()) > len(pieces):
            raise Malformed("tensors lie in more pieces than there are")
        return {
            _text(key, path): _whole(key, found, path, sizes, pieces)
            for key, found in messages.items()
            if key[:1] != b"\0"
        }
    except Malformed as problem:
        raise CorruptWeightsError(f"{path} is damaged: {problem}.") from problem


def _shards(header: bytes, prefix: str, path: Path, paths: Paths) -> dict[str, int]:
    """Sizes of the files with the bytes, by their names in the order of their numbers."""
    found = message(header)
    number = _one(found, 1)
    if not header or not 0 < number <= 99_999:
        raise CorruptWeightsError(f"{path} is damaged: it says that the checkpoint has {number:,} shards.")
    if _one(found, 2):
        raise CorruptWeightsError(f"{path} was written on a big-endian machine, whose numbers are not read here.")
    names = [f"{prefix}.data-{shard:05d}-of-{number:05d}" for shard in range(number)]
    missing = [name for name in names if name not in paths]
    if missing:
        beside = [name for name in sorted(paths) if name.startswith(f"{prefix}.data-")]
        raise CorruptWeightsError(
            f"{path} names {number:,} shards, of which {len(missing):,} are not there: {', '.join(missing[:5])}. "
            f"There are: {', '.join(beside[:5]) or 'none'}.",
            hint="Fetch the missing files, and put them beside the index.",
        )
    return {name: paths[name].stat().st_size for name in names}


def _whole(key: bytes, found: Message, path: Path, sizes: Mapping[str, int], pieces: Mapping[bytes, Entry]) -> Entry:
    """The entry of a tensor, with those of its pieces where it lies in several."""
    slices = [parse_slice(text) for text in found.get(7, []) if isinstance(text, bytes)]
    if not slices:
        return _entry(key, found, path, sizes)
    header = _header(key, found, path)
    if any(len(piece) != len(header.shape) for piece in slices):
        raise Malformed(f"a piece of {key!r} has other axes than the whole")
    axis, order = in_order(slices, header.shape)
    entries = [pieces.get(key_of(key, piece)) for piece in order]
    for piece, entry in zip(order, entries, strict=True):
        expected = shape_of(piece, header.shape), header.dtype
        if entry is None or (entry.header.shape, entry.header.dtype) != expected:
            raise Malformed(f"a piece of {key!r} is missing, or of another shape or type")
    return Entry(header=header, shard="", offset=0, checksum=0, pieces=tuple(filter(None, entries)), axis=axis)


def _entry(key: bytes, found: Message, path: Path, sizes: Mapping[str, int]) -> Entry:
    header, number = _header(key, found, path), _one(found, 3)
    offset, size = (_one(found, field) for field in (4, 5))
    if not 0 <= number < len(sizes):
        raise CorruptWeightsError(f"{path} is damaged: {key!r} lies in shard {number:,} of {len(sizes):,}.")
    shard = list(sizes)[number]
    if min(offset, size) < 0 or offset + size > sizes[shard]:
        raise CorruptWeightsError(
            f"{path} is damaged: {size:,} bytes of {key!r} should be at {offset:,} in {shard}, which has "
            f"{sizes[shard]:,}."
        )
    if header.dtype not in OTHER_TYPES.values() and size != header.nbytes:
        raise CorruptWeightsError(f"{path} is damaged: {key!r} has the shape {header.shape} and {size:,} bytes.")
    return Entry(header=Header(header.shape, header.dtype, size), shard=shard, offset=offset, checksum=_checksum(found))


def _header(key: bytes, found: Message, path: Path) -> Header:
    number, shape = _one(found, 1), tuple(_shape(found, path, key))
    if number in OTHER_TYPES:
        return Header(shape, OTHER_TYPES[number], 0)
    if number not in TYPES:
        raise CorruptWeightsError(f"{path} says that {key!r} is of the type {number}, which is unknown here.")
    dtype, itemsize = TYPES[number]
    return Header(shape, dtype, prod(shape) * itemsize)


def _shape(found: Message, path: Path, key: bytes) -> Sequence[int]:
    text = found.get(2, [b""])[-1]
    shape = message(text if isinstance(text, bytes) else b"\xff")
    axes = shape.get(2, [])
    if len(axes) > MOST_AXES:
        raise WeightsLimitError(f"{path}: {key!r} has {len(axes):,} axes, where {MOST_AXES} are the most.")
    sizes = [_one(message(axis), 1) if isinstance(axis, bytes) else -1 for axis in axes]
    if any(size < 0 for size in sizes) or shape.get(3):
        raise CorruptWeightsError(f"{path} is damaged: {key!r} has no certain shape.")
    return sizes


def _checksum(found: Message) -> int:
    """The masked CRC-32C of a tensor's bytes, a number of four bytes."""
    value = found.get(6, [bytes(4)])[-1]
    if not isinstance(value, bytes):
        raise Malformed("the field 6 of a message is no checksum")
    return int.from_bytes(value, "little")


def _one(found: Message, field: int) -> int:
    """The number in a field; 0, as in every message, where it is left out."""
    value = found.get(field, [0])[-1]
    if not isinstance(value, int):
        raise Malformed(f"the field {field} of a message is no number")
    return signed(value)


def _text(key: bytes, path: Path) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as problem:
        raise CorruptWeightsError(f"{path} is damaged: {key[:80]!r} is no name in UTF-8.") from problem
