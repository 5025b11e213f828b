"""The index of a TensorFlow checkpoint: dtype and shape of each tensor, and the offset of its bytes.

It is a sorted table of messages: ``BundleHeaderProto`` under the empty key, a ``BundleEntryProto`` for each tensor
under its name, and one for each slice of a partitioned tensor.  (``tensor_bundle.proto``, ``tensor_shape.proto``,
``tensor_slice.proto`` and ``types.proto``, in tensorflow/core/protobuf and tensorflow/core/framework of
https://github.com/tensorflow/tensorflow.)
"""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from attrs import frozen

from registry.errors import CorruptWeightsError, WeightsLimitError
from registry.files.filenames import INDEX_SUFFIX
from registry.files.protobuf import Malformed, Message, message, signed
from registry.files.strict_json import MEBIBYTE
from registry.records import Paths
from registry.weights.headers import Header
from registry.weights.tensorflow.slices import in_order, key_of, parse_slice, shape_of
from registry.weights.tensorflow.table import read_table

LARGEST_INDEX = 8 * MEBIBYTE
MOST_AXES = 8

TYPES = {
    1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2), 6: ("int8", 1),
    9: ("int64", 8), 10: ("bool", 1), 14: ("bfloat16", 2), 19: ("float16", 2),
}  # fmt: skip
"""Number of a type -> torch's name for it, and the bytes of an element."""
OTHER_TYPES = {7: "string", 8: "complex64", 17: "uint16", 18: "complex128", 20: "resource", 21: "variant", 22: "uint32"}
"""Types that no weights have; their tensors are listed, and cannot be read."""

# Fields of BundleEntryProto
DTYPE, SHAPE, SHARD, OFFSET, SIZE, CRC32C, SLICES = range(1, 8)


@frozen(kw_only=True)
class BundleEntry:
    """The entry of a tensor, or of one slice of it."""

    header: Header
    shard: str
    """Name of the file with its bytes."""
    offset: int
    """Where in it they begin."""
    checksum: int
    """Masked CRC-32C of the bytes."""
    slices: "tuple[BundleEntry, ...]" = ()
    """The slices of a partitioned tensor, in their order."""
    axis: int = 0
    """The axis along which they are joined."""


def read_index(prefix: str, paths: Paths) -> dict[str, BundleEntry]:
    """The entries of all tensors of a checkpoint, each within its shard, its size that of its shape.

    Args:
        prefix: The name of the checkpoint.
        paths: The files, by name.

    Raises:
        CorruptWeightsError: The index is damaged, or a shard is missing.
        WeightsLimitError: The index is larger than any that is needed.
    """
    path = paths[prefix + INDEX_SUFFIX]
    with path.open("rb") as file:
        data = file.read(LARGEST_INDEX + 1)
    if len(data) > LARGEST_INDEX:
        raise WeightsLimitError(f"{path} has more than {LARGEST_INDEX:,} bytes, where an index has some thousands.")
    table = read_table(data, str(path))
    try:
        sizes = _shards(table.pop(b"", b""), prefix, path, paths)
        messages = {key: message(value) for key, value in table.items()}
        slices = {key: _entry(key, entry, path, sizes) for key, entry in messages.items() if key[:1] == b"\0"}
        if sum(len(entry.get(SLICES, [])) for entry in messages.values()) > len(slices):
            raise Malformed("tensors have more slices than there are")
        return {
            _text(key, path): _tensor(key, entry, path, sizes, slices)
            for key, entry in messages.items()
            if key[:1] != b"\0"
        }
    except Malformed as problem:
        raise CorruptWeightsError(f"{path} is damaged: {problem}.") from problem


def _shards(header: bytes, prefix: str, path: Path, paths: Paths) -> dict[str, int]:
    """The sizes of the shards, by their names in the order of their numbers."""
    fields = message(header)
    number, endianness = _number(fields, 1), _number(fields, 2)
    if not header or not 0 < number <= 99_999:
        raise CorruptWeightsError(f"{path} is damaged: it says that the checkpoint has {number:,} shards.")
    if endianness:
        raise CorruptWeightsError(f"{path} was written on a big-endian machine, whose numbers are not read here.")
    names = [f"{prefix}.data-{shard:05d}-of-{number:05d}" for shard in range(number)]
    missing = [name for name in names if name not in paths]
    if missing:
        present = [name for name in sorted(paths) if name.startswith(f"{prefix}.data-")]
        raise CorruptWeightsError(
            f"{path} names {number:,} shards, of which {len(missing):,} are not there: {', '.join(missing[:5])}. "
            f"There are: {', '.join(present[:5]) or 'none'}.",
            hint="Download the missing files, and put them next to the index.",
        )
    return {name: paths[name].stat().st_size for name in names}


def _tensor(
    key: bytes, fields: Message, path: Path, sizes: Mapping[str, int], slices: Mapping[bytes, BundleEntry]
) -> BundleEntry:
    """The entry of a tensor, with those of its slices where it is partitioned."""
    extents = [parse_slice(text) for text in fields.get(SLICES, []) if isinstance(text, bytes)]
    if not extents:
        return _entry(key, fields, path, sizes)
    header = _header(key, fields, path)
    if any(len(extent) != len(header.shape) for extent in extents):
        raise Malformed(f"a slice of {key!r} has another number of axes")
    axis, order = in_order(extents, header.shape)
    entries = [slices.get(key_of(key, extent)) for extent in order]
    for extent, entry in zip(order, entries, strict=True):
        expected = shape_of(extent, header.shape), header.dtype
        if entry is None or (entry.header.shape, entry.header.dtype) != expected:
            raise Malformed(f"a slice of {key!r} is missing, or of another shape or type")
    return BundleEntry(header=header, shard="", offset=0, checksum=0, slices=tuple(filter(None, entries)), axis=axis)


def _entry(key: bytes, fields: Message, path: Path, sizes: Mapping[str, int]) -> BundleEntry:
    header, number = _header(key, fields, path), _number(fields, SHARD)
    offset, size = _number(fields, OFFSET), _number(fields, SIZE)
    if not 0 <= number < len(sizes):
        raise CorruptWeightsError(f"{path} is damaged: {key!r} is in shard {number:,} of {len(sizes):,}.")
    shard = list(sizes)[number]
    if min(offset, size) < 0 or offset + size > sizes[shard]:
        raise CorruptWeightsError(
            f"{path} is damaged: {size:,} bytes of {key!r} should be at {offset:,} in {shard}, which has "
            f"{sizes[shard]:,}."
        )
    if header.dtype not in OTHER_TYPES.values() and size != header.nbytes:
        raise CorruptWeightsError(f"{path} is damaged: {key!r} has the shape {header.shape} and {size:,} bytes.")
    header = Header(header.shape, header.dtype, size)
    return BundleEntry(header=header, shard=shard, offset=offset, checksum=_checksum(fields))


def _header(key: bytes, fields: Message, path: Path) -> Header:
    number, shape = _number(fields, DTYPE), tuple(_shape(fields, path, key))
    if number in OTHER_TYPES:
        return Header(shape, OTHER_TYPES[number], 0)
    if number not in TYPES:
        raise CorruptWeightsError(f"{path} says that {key!r} is of type {number}, which is unknown here.")
    dtype, itemsize = TYPES[number]
    return Header(shape, dtype, prod(shape) * itemsize)


def _shape(fields: Message, path: Path, key: bytes) -> Sequence[int]:
    """The sizes in a TensorShapeProto, whose axes are field 2; field 3 says that the rank is unknown."""
    text = fields.get(SHAPE, [b""])[-1]
    shape = message(text if isinstance(text, bytes) else b"\xff")
    axes = shape.get(2, [])
    if len(axes) > MOST_AXES:
        raise WeightsLimitError(f"{path}: {key!r} has {len(axes):,} axes; the maximum is {MOST_AXES}.")
    sizes = [_number(message(axis), 1) if isinstance(axis, bytes) else -1 for axis in axes]
    if any(size < 0 for size in sizes) or shape.get(3):
        raise CorruptWeightsError(f"{path} is damaged: {key!r} has no certain shape.")
    return sizes


def _checksum(fields: Message) -> int:
    """The masked CRC-32C of a tensor's bytes, a number of four bytes."""
    value = fields.get(CRC32C, [bytes(4)])[-1]
    if not isinstance(value, bytes):
        raise Malformed(f"the field {CRC32C} of a message is not a checksum")
    return int.from_bytes(value, "little")


def _number(fields: Message, field: int) -> int:
    """The number in a field; 0, as in every message, where it is absent."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise Malformed(f"the field {field} of a message is not a number")
    return signed(value)


def _text(key: bytes, path: Path) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as problem:
        raise CorruptWeightsError(f"{path} is damaged: {key[:80]!r} is not a name in UTF-8.") from problem
