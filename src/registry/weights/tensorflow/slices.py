"""Slices of partitioned variables, as training on several machines writes them."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from registry.files.protobuf import Malformed, message, signed

TensorSlice: TypeAlias = tuple[tuple[int, int], ...]
"""Begin and length on each axis; the length is ``FULL`` where the slice has the complete axis."""

FULL = -1


def parse_slice(data: bytes) -> TensorSlice:
    """The slice in a TensorSliceProto; an axis without a length is complete.  Raises Malformed."""
    extents = []
    for text in message(data).get(1, []):
        fields = message(text) if isinstance(text, bytes) else {}
        begin, length = fields.get(1, [0])[-1], fields.get(2, [2**64 + FULL])[-1]
        if not isinstance(begin, int) or not isinstance(length, int) or signed(begin) < 0 or signed(length) < FULL:
            raise Malformed("a slice of a tensor has no certain extent")
        extents.append((begin, signed(length)))
    return tuple(extents)


def shape_of(part: TensorSlice, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a slice of a tensor with this shape."""
    return tuple(size if length == FULL else length for (_, length), size in zip(part, shape, strict=True))


def in_order(slices: Iterable[TensorSlice], shape: Sequence[int]) -> tuple[int, list[TensorSlice]]:
    """The axis along which slices make up a tensor, and the slices in their order on it.

    TensorFlow cuts along one axis.

    Args:
        slices: The slices, in any order.
        shape: The shape of the tensor.

    Raises:
        Malformed: The slices are cut along several axes, overlap, leave a hole, or are not the complete tensor.
    """
    extents = {part: list(zip((begin for begin, _ in part), shape_of(part, shape), strict=True)) for part in slices}
    cut = {axis for placed in extents.values() for axis, extent in enumerate(placed) if extent != (0, shape[axis])}
    if not extents or len(cut) > 1 or (not cut and len(extents) > 1):
        raise Malformed("the slices of a tensor are not those of one axis")
    axis = min(cut, default=0)
    order = sorted(extents, key=lambda part: extents[part][axis] if part else (0, 0))
    end = 0
    for begin, length in (extents[part][axis] for part in order if part):
        if begin != end:
            raise Malformed("the slices of a tensor overlap, or leave a hole")
        end += length
    if shape and end != shape[axis]:
        raise Malformed("the slices of a tensor do not make it up")
    return axis, order


# --- Names of slices --------------------------------------------------------------------------------------------------
# As tensorflow/core/util/saved_tensor_slice_util.cc and tensorflow/core/lib/strings/ordered_code.cc write them.


def key_of(name: bytes, part: TensorSlice) -> bytes:
    """The key of a slice of the tensor ``name`` in the index: numbers and texts, encoded so that they sort."""
    numbers = b"".join(_signed(begin) + _signed(length) for begin, length in part)
    return _unsigned(0) + _escaped(name) + _unsigned(len(part)) + numbers


_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


def _escaped(text: bytes) -> bytes:
    return b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in text) + b"\x00\x01"


def _unsigned(number: int) -> bytes:
    """The number of bytes of a number, then those, the highest first."""
    length = (number.bit_length() + 7) // 8
    return bytes([length]) + number.to_bytes(length, "big")


def _signed(number: int) -> bytes:
    """A number that begins with as many ones as it has bytes, and a zero; of a negative one all bits are inverted."""
    positive = ~number if number < 0 else number
    length = positive.bit_length() // 7 + 1
    text = (positive | ((1 << length) - 1) << (7 * length)).to_bytes(length, "big")
    return bytes(byte ^ 0xFF for byte in text) if number < 0 else text
