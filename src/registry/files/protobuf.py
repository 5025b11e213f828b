"""Read the wire format of protocol buffers, as far as a file that a stranger wrote may be trusted with.

A message is a series of fields, each with a number and one of four kinds of value.  What a number means stands in the
schema, which the reader has to know; a field that it does not know is passed over.
"""

from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = int | bytes
"""A number where the wire has a variable-length one, else the bytes of the value."""

LONGEST_NUMBER = 10
"""Bytes of the longest number, of 64 bits in groups of seven."""

VARIABLE, EIGHT_BYTES, LENGTH_AND_BYTES, FOUR_BYTES = 0, 1, 2, 5
SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The number and the value of each field of a message, in the order of the file.

    A text, a nested message and a list of packed numbers are all given as their bytes.  Raises ValueError, which names
    the place, when the bytes are no message: cut short, or of a kind that no current writer makes.
    """
    place, end = 0, len(data)
    while place < end:
        key, place = _number(data, place)
        number, kind = key >> 3, key & 7
        if kind == LENGTH_AND_BYTES:
            size, place = _number(data, place)
        elif kind == VARIABLE:
            value, place = _number(data, place)
            yield number, value
            continue
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise ValueError(f"field {number} before byte {place} is of kind {kind}, which nobody writes")
        if size > end - place:
            raise ValueError(f"field {number} promises {size:,} bytes at byte {place}, where {end - place:,} are")
        yield number, data[place : place + size]
        place += size


def _number(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at ``place``, and the place behind it."""
    if place < len(data) and data[place] < 0x80:  # most are small
        return data[place], place + 1
    number = 0
    for shift, byte in enumerate(data[place : place + LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + shift + 1
    raise ValueError(f"the number at byte {place} does not end")
