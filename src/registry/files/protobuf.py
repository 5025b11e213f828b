"""The wire format of protocol buffers, read as far as a file from a third party may be trusted.

A message is a series of fields, each with a number and a value of one of four wire types
(https://protobuf.dev/programming-guides/encoding/).  The meaning of a number stands in the schema, which the reader has
to know; unknown fields are ignored.
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
"""The values of a message by the number of their field, in their order."""


class Malformed(ValueError):  # noqa: N818  # a remark for the reader of a file, who raises an error that names it
    """Bytes that are not a message: they end too early, or are invalid."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message, in the order of the file.

    Args:
        data: The bytes of the message.

    Yields:
        Number and value.  Texts, nested messages and lists of packed numbers are given as their bytes.

    Raises:
        Malformed: The bytes are cut short, or of a wire type that no current writer makes; it names the offset.
    """
    offset, end = 0, len(data)
    while offset < end:
        key, offset = varint(data, offset)
        number, wire_type = key >> 3, key & 7
        if wire_type == LENGTH_AND_BYTES:
            size, offset = varint(data, offset)
        elif wire_type == VARIABLE:
            value, offset = varint(data, offset)
            yield number, value
            continue
        elif wire_type in SIZES:
            size = SIZES[wire_type]
        else:
            raise Malformed(f"field {number} before byte {offset} is of kind {wire_type}, which nobody writes")
        if size > end - offset:
            raise Malformed(f"field {number} promises {size:,} bytes at byte {offset}, where {end - offset:,} are")
        yield number, data[offset : offset + size]
        offset += size


def message(data: bytes) -> Message:
    """The fields of a message by their numbers.  Raises Malformed."""
    found: Message = defaultdict(list)
    for number, value in fields(data):
        found[number].append(value)
    return found


def signed(number: int) -> int:
    """A number of 64 bits as two's complement."""
    return number - 2**64 if number >= 2**63 else number


def varint(data: bytes, offset: int) -> tuple[int, int]:
    """The variable-length number at ``offset``, and the offset after it.  Raises Malformed."""
    if offset < len(data) and data[offset] < 0x80:  # most are small
        return data[offset], offset + 1
    number = 0
    for shift, byte in enumerate(data[offset : offset + LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, offset + shift + 1
    raise Malformed(f"the number at byte {offset} does not end")
