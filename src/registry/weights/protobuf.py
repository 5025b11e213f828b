"""Numbers of any length and messages, as protocol buffers write them.

Format: https://protobuf.dev/programming-guides/encoding.  Read are fields by number; what they mean is the caller's.
"""

from collections import defaultdict
from typing import TypeAlias

LONGEST = 10
"""Bytes of the longest number, one of 64 bits."""
WIDTHS = {1: 8, 5: 4}
"""Bytes of a fixed number, by the kind of its field."""

Fields: TypeAlias = dict[int, list["int | bytes"]]
"""The values of a message, by the number of their field, in their order."""


class Malformed(ValueError):  # noqa: N818  # a remark for whoever knows the file, and raises an error that names it
    """Bytes end inside of a number or a field, or make no sense."""


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The number at ``place``, and where the next thing stands; seven bits a byte, the lowest first."""
    number = 0
    for shift in range(LONGEST):
        if place >= len(data):
            break
        byte = data[place]
        number |= (byte & 0x7F) << (7 * shift)
        place += 1
        if byte < 0x80:
            return number & (2**64 - 1), place
    raise Malformed("a number without an end")


def signed(number: int) -> int:
    """A number of 64 bits, the highest of which is its sign."""
    return number - 2**64 if number >= 2**63 else number


def fields(data: bytes) -> Fields:
    """The fields of a message.  Raises Malformed."""
    found: Fields = defaultdict(list)
    place = 0
    while place < len(data):
        tag, place = varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = varint(data, place)
            found[number].append(value)
            continue
        length = WIDTHS.get(kind)
        if kind == 2:
            length, place = varint(data, place)
        if length is None or place + length > len(data) or number == 0:
            raise Malformed("a field without an end, or of no kind")
        content = data[place : place + length]
        found[number].append(content if kind == 2 else int.from_bytes(content, "little"))
        place += length
    return found
