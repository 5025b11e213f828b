"""Tensors that TensorFlow keeps in pieces: partitioned variables, as training on several machines has them."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from registry.files.protobuf import Malformed, message, signed

Slice: TypeAlias = tuple[tuple[int, int], ...]
"""Begin and length on each axis; the length is -1 where the piece has the whole axis."""

WHOLE = -1


def parse_slice(data: bytes) -> Slice:
    """The slice in a TensorSliceProto; an axis without a length is whole.  Raises Malformed."""
    extents = []
    for text in message(data).get(1, []):
        numbers = message(text) if isinstance(text, bytes) else {}
        begin, length = numbers.get(1, [0])[-1], numbers.get(2, [2**64 + WHOLE])[-1]
        if not isinstance(begin, int) or not isinstance(length, int) or signed(begin) < 0 or signed(length) < WHOLE:
            raise Malformed("a piece of a tensor lies nowhere")
        extents.append((begin, signed(length)))
    return tuple(extents)


def shape_of(piece: Slice, whole: Sequence[int]) -> tuple[int, ...]:
    """The shape of a piece of a tensor of the shape ``whole``."""
    return tuple(size if length == WHOLE else length for (_, length), size in zip(piece, whole, strict=True))


def in_order(pieces: Iterable[Slice], whole: Sequence[int]) -> tuple[int, list[Slice]]:
    """The axis along which pieces make up a tensor of the shape ``whole``, and the pieces in their order on it.

    TensorFlow cuts along one axis.  Raises Malformed when they are cut along several, overlap, or leave a hole.
    """
    placed = {piece: list(zip((b for b, _ in piece), shape_of(piece, whole), strict=True)) for piece in pieces}
    cut = {axis for extents in placed.values() for axis, extent in enumerate(extents) if extent != (0, whole[axis])}
    if not placed or len(cut) > 1 or (not cut and len(placed) > 1):
        raise Malformed("the pieces of a tensor are not those of one axis")
    axis = min(cut, default=0)
    order = sorted(placed, key=lambda piece: placed[piece][axis] if piece else (0, 0))
    end = 0
    for begin, length in (placed[piece][axis] for piece in order if piece):
        if begin != end:
            raise Malformed("the pieces of a tensor overlap, or leave a hole")
        end += length
    if whole and end != whole[axis]:
        raise Malformed("the pieces of a tensor do not make it up")
    return axis, order


# --- Names of pieces --------------------------------------------------------------------------------------------------


def key_of(name: bytes, piece: Slice) -> bytes:
    """The key of a piece of the tensor ``name`` in the index: numbers and texts, which sort as they are."""
    numbers = b"".join(_signed(begin) + _signed(length) for begin, length in piece)
    return _unsigned(0) + _escaped(name) + _unsigned(len(piece)) + numbers


_ESCAPES = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}


def _escaped(text: bytes) -> bytes:
    return b"".join(_ESCAPES.get(byte, bytes([byte])) for byte in text) + b"\x00\x01"


def _unsigned(number: int) -> bytes:
    """How many bytes a number has, and those, the highest first."""
    length = (number.bit_length() + 7) // 8
    return bytes([length]) + number.to_bytes(length, "big")


def _signed(number: int) -> bytes:
    """A number that begins with as many ones as it has bytes, and a zero; of a negative one all bits are turned."""
    positive = ~number if number < 0 else number
    length = positive.bit_length() // 7 + 1
    text = (positive | ((1 << length) - 1) << (7 * length)).to_bytes(length, "big")
    return bytes(byte ^ 0xFF for byte in text) if number < 0 else text
