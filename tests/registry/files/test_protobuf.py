"""Messages in the wire format of protocol buffers, whole and damaged; the first ones are those of its manual."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.files.protobuf import fields


def written(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first, all but the last marked."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\x08\x96\x01", [(1, 150)]),
        (b"\x12\x07testing", [(2, b"testing")]),
        (b"\x1a\x03\x08\x96\x01", [(3, b"\x08\x96\x01")]),
        (b"\x08\x01\x08\x02", [(1, 1), (1, 2)]),
        (b"\x15\x00\x00\x80\x3f", [(2, b"\x00\x00\x80\x3f")]),
        (b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f", [(1, b"\x00\x00\x00\x00\x00\x00\xf0\x3f")]),
        (b"\x08" + b"\xff" * 9 + b"\x01", [(1, 2**64 - 1)]),
        (b"\x82\x01\x01x", [(16, b"x")]),
    ],
)
def test_fields_are_read_in_their_order(data: bytes, expected: list[tuple[int, int | bytes]]) -> None:
    assert list(fields(data)) == expected


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary(max_size=300))))
def test_what_is_written_is_read(message: list[tuple[int, int | bytes]]) -> None:
    data = b"".join(
        written(number << 3) + written(value)
        if isinstance(value, int)
        else written(number << 3 | 2) + written(len(value)) + value
        for number, value in message
    )
    assert list(fields(data)) == message


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x08", "the number at byte 1 does not end"),
        (b"\x08" + b"\x80" * 20, "the number at byte 1 does not end"),
        (b"\x12\x05abc", "field 2 promises 5 bytes at byte 2, where 3 are"),
        (b"\x12" + b"\xff" * 9 + b"\x01", "promises 18,446,744,073,709,551,615 bytes"),
        (b"\x15\x00", "field 2 promises 4 bytes at byte 1, where 1 are"),
        (b"\x0b", "field 1 before byte 1 is of kind 3"),
        (b"\x0f", "of kind 7"),
    ],
)
def test_a_damaged_message_is_refused_with_the_place(data: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        list(fields(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(limits: Callable[..., Any], data: bytes) -> None:
    with suppress(ValueError), limits():
        assert sum(len(value) for _, value in fields(data) if isinstance(value, bytes)) <= len(data)
