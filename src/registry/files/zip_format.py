"""The records of a zip archive (PKWARE APPNOTE 6.3 §4.3), as far as the checks of two readers need them."""

import struct
from typing import NamedTuple, Self

LOCAL_SIGNATURE = b"PK\x03\x04"
END_SIGNATURE = b"PK\x05\x06"
ZIP64_END_SIGNATURE = b"PK\x06\x06"
ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"

ENCRYPTED = 0b1
"""Flag: the member is encrypted."""
STRONGLY_ENCRYPTED = 0b1000000
"""Flag: the member is encrypted by another method."""
PATCHED = 0b100000
"""Flag: the member is a difference to another."""
MASKED = 1 << 13
"""Flag: the header before the bytes of the member is masked."""
DOS_DIRECTORY = 0x10
"""Attribute, as MS-DOS has it: the member is a directory."""
SEPARATE_SIZES = 0b1000
"""Flag: checksum and sizes are repeated after the member's bytes, and may be 0 before them."""
IN_ZIP64 = 2**32 - 1
"""The value of a field of 32 bits whose number stands in a field of zip64."""


class LocalHeader(NamedTuple):
    """The header before the bytes of a member (§4.3.7), without its name and its extra field."""

    signature: bytes
    version: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed_size: int
    size: int
    name_length: int
    extra_length: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Parse the ``LOCAL_SIZE`` bytes of a header.  Raises struct.error for fewer."""
        return cls._make(_LOCAL.unpack(data))

    @property
    def length(self) -> int:
        """Bytes from the start of the header to the first byte of the member."""
        return LOCAL_SIZE + self.name_length + self.extra_length


class EndRecord(NamedTuple):
    """The last record of an archive (§4.3.16), without its comment."""

    signature: bytes
    disk: int
    directory_disk: int
    members_on_disk: int
    members: int
    directory_size: int
    directory_offset: int
    comment_length: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Parse the ``END_SIZE`` bytes of a record.  Raises struct.error for fewer."""
        return cls._make(_END.unpack(data))


class Zip64EndRecord(NamedTuple):
    """The end record for larger numbers (§4.3.14), which stands before its locator and ``EndRecord``."""

    signature: bytes
    record_size: int
    made_by: int
    version: int
    disk: int
    directory_disk: int
    members_on_disk: int
    members: int
    directory_size: int
    directory_offset: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Parse the ``ZIP64_END_SIZE`` bytes of a record.  Raises struct.error for fewer."""
        return cls._make(_ZIP64_END.unpack(data))


class Zip64Locator(NamedTuple):
    """The record between ``Zip64EndRecord`` and ``EndRecord`` (§4.3.15), which says where the former is."""

    signature: bytes
    disk: int
    offset: int
    disks: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Parse the ``ZIP64_LOCATOR_SIZE`` bytes of a record.  Raises struct.error for fewer."""
        return cls._make(_ZIP64_LOCATOR.unpack(data))


def lengths_in_entry(directory: bytes, position: int) -> tuple[int, ...]:
    """Bytes of the name, the extra field and the comment of an entry in the list of members (§4.3.12)."""
    return _LENGTHS.unpack_from(directory, position + 28)


_LENGTHS = struct.Struct("<3H")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")

LOCAL_SIZE = _LOCAL.size
END_SIZE = _END.size
ZIP64_END_SIZE = _ZIP64_END.size
ZIP64_LOCATOR_SIZE = _ZIP64_LOCATOR.size
ZIP64_REST = ZIP64_END_SIZE - 12
"""What a ``Zip64EndRecord`` without extensions says of its size: the bytes after that number."""
ENTRY_SIZE = 46
"""Bytes of an entry in the list of members, without its name, its extra field and its comment."""
