"""Read the wire format of protocol buffers, as far as a file that a stranger wrote may be trusted with.

A message is a series of fields, each with a number and one of four kinds of value.  What a number means stands in the
schema, which the reader has to know; a field that it does not know is passed over.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = int | bytes
"""A number where the wire has a variable-length one, else the bytes of the value."""

LONGEST_NUMBER = 10
"""Bytes of the longest number, of 64 bits in groups of seven."""

VARIABLE, EIGHT_BYTES, LENGTH_AND_BYTES, FOUR_BYTES = 0, 1, 2, 5
SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}

Message: TypeAlias = dict[int, list[Value]]
"""The values of a message, by the number of their field, in their order."""


class Malformed(ValueError):  # noqa: N818  # a remark for whoever knows the file, and raises an error that names it
    """Bytes are no message: they end too early, or make no sense."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The number and the value of each field of a message, in the order of the file.

    A text, a nested message and a list of packed numbers are all given as their bytes.  Raises Malformed, which names
    the place, when the bytes are no message: cut short, or of a kind that no current writer makes.
    """
    place, end = 0, len(data)
    while place < end:
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == LENGTH_AND_BYTES:
            size, place = varint(data, place)
        elif kind == VARIABLE:
            value, place = varint(data, place)
            yield number, value
            continue
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise Malformed(f"field {number} before byte {place} is of kind {kind}, which nobody writes")
        if size > end - place:
            raise Malformed(f"field {number} promises {size:,} bytes at byte {place}, where {end - place:,} are")
        yield number, data[place : place + size]
        place += size


def message(data: bytes) -> Message:
    """The fields of a message, gathered by their numbers.  Raises Malformed."""
    found: Message = defaultdict(list)
    for number, value in fields(data):
        found[number].append(value)
    return found


def signed(number: int) -> int:
    """A number of 64 bits, the highest of which is its sign."""
    return number - 2**64 if number >= 2**63 else number


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at ``place``, and the place behind it.  Raises Malformed."""
    if place < len(data) and data[place] < 0x80:  # most are small
        return data[place], place + 1
    number = 0
    for shift, byte in enumerate(data[place : place + LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + shift + 1
    raise Malformed(f"the number at byte {place} does not end")
