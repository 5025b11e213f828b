"""Sorted tables: the files in which LevelDB and TensorFlow keep many keys with their values.

Format: https://github.com/google/leveldb/blob/main/doc/table_format.md.  Blocks of entries in the order of their keys,
each with a checksum; an index block with their offsets; and a footer with the offset of that.  The file may be
anybody's: every number in it is checked against the bounds of what it counts.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, pairwise

from registry.errors import CorruptWeightsError, WeightsLimitError
from registry.extras import import_extra
from registry.files.protobuf import Malformed, varint
from registry.files.signatures import TABLE_END
from registry.files.strict_json import MEBIBYTE

FOOTER = 48
"""Bytes of the footer: two handles, zeros up to 40, and the magic number."""
TRAILER = 5
"""Bytes after each block: its compression, and its checksum."""
NUMBER = 4
"""Bytes of a fixed number."""

UNCOMPRESSED, SNAPPY = 0, 1

LARGEST_BLOCK = 4 * MEBIBYTE
LARGEST_TABLE = 4 * MEBIBYTE
"""Bytes of all keys and values; a tensor has about 100."""
MOST_ENTRIES = 20_000
"""In a table, and in its index block."""
LONGEST_KEY = 4096


def is_table(end: bytes) -> bool:
    """Whether a file with these last bytes is a sorted table."""
    return end.endswith(TABLE_END)


def read_table(data: bytes, origin: str) -> dict[bytes, bytes]:
    """The entries of a table, in the order of their keys.

    Args:
        data: The bytes of the table.
        origin: Its name in errors.

    Raises:
        CorruptWeightsError: No writer would have written it.
        WeightsLimitError: It is larger than any that is needed.
    """
    try:
        return dict(_entries_in_order(data, origin))
    except Malformed as problem:
        raise CorruptWeightsError(f"{origin} is damaged: it breaks off inside of an entry.") from problem


def _entries_in_order(data: bytes, origin: str) -> Iterator[tuple[bytes, bytes]]:
    previous, number, total = None, 0, 0
    for block in _blocks(data, origin):
        for key, value in _entries(block, origin):
            number += 1
            total += len(key) + len(value)
            if number > MOST_ENTRIES or total > LARGEST_TABLE:
                raise WeightsLimitError(
                    f"{origin} holds more than {MOST_ENTRIES:,} entries, or {LARGEST_TABLE:,} bytes of them."
                )
            if previous is not None and key <= previous:
                raise CorruptWeightsError(f"{origin} is damaged: its keys are not in order at {key[:80]!r}.")
            yield key, value
            previous = key


# --- Blocks -----------------------------------------------------------------------------------------------------------


def _blocks(data: bytes, origin: str) -> Iterator[bytes]:
    """The blocks of entries, decompressed."""
    if len(data) < FOOTER or not is_table(data):
        raise CorruptWeightsError(
            f"{origin} is damaged: a table has {FOOTER} bytes or more, and ends with its magic number."
        )
    footer = data[-FOOTER:]
    _, _, offset = _handle(footer, 0)  # of a block with properties of the table, which TensorFlow leaves empty
    index = _block(data, *_handle(footer, offset)[:2], origin)
    handles = [_handle(value, 0)[:2] for _, value in islice(_entries(index, origin), MOST_ENTRIES)]
    for (begin, size), (following, _) in pairwise(handles):
        if begin + size + TRAILER > following:
            raise CorruptWeightsError(f"{origin} is damaged: its blocks overlap.")
    for begin, size in handles:
        yield _block(data, begin, size, origin)


def _handle(data: bytes, offset: int) -> tuple[int, int, int]:
    """The offset and the size of a block, from its handle at ``offset``; and the offset after the handle."""
    begin, offset = varint(data, offset)
    size, offset = varint(data, offset)
    return begin, size, offset


def _block(data: bytes, begin: int, size: int, origin: str) -> bytes:
    """The content of a block whose checksum is right, decompressed."""
    end = begin + size
    if end + TRAILER > len(data) - FOOTER:
        raise CorruptWeightsError(
            f"{origin} is damaged: a block of {size:,} bytes at {begin:,} reaches beyond its end."
        )
    if size > LARGEST_BLOCK:
        raise WeightsLimitError(f"{origin} holds a block of {size:,} bytes; the maximum is {LARGEST_BLOCK:,}.")
    content, kind = data[begin:end], data[end]
    if masked(crc32c(data[begin : end + 1])) != int.from_bytes(data[end + 1 : end + TRAILER], "little"):
        raise CorruptWeightsError(f"{origin} is damaged: the checksum of its block at byte {begin:,} is wrong.")
    if kind == UNCOMPRESSED:
        return content
    if kind == SNAPPY:
        return _decompressed(content, origin)
    raise CorruptWeightsError(f"{origin} is damaged: a block is compressed in the unknown way {kind}.")


def _decompressed(content: bytes, origin: str) -> bytes:
    cramjam = import_extra("cramjam", "A compressed TensorFlow checkpoint")  # from other writers than TensorFlow

    size, _ = varint(content, 0)
    if size > LARGEST_BLOCK:
        raise WeightsLimitError(f"{origin} holds a block of {size:,} bytes; the maximum is {LARGEST_BLOCK:,}.")
    try:
        return bytes(cramjam.snappy.decompress_raw(content))
    except cramjam.DecompressionError as problem:
        raise CorruptWeightsError(f"{origin} is damaged: a block cannot be decompressed.") from problem


def _entries(block: bytes, origin: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block, in which a key is the length of the prefix shared with the one before, and the rest."""
    restarts = int.from_bytes(block[-NUMBER:], "little")
    end = len(block) - NUMBER * (restarts + 1)
    if len(block) < NUMBER or end < 0:
        raise CorruptWeightsError(f"{origin} is damaged: a block of {len(block):,} bytes has {restarts:,} restarts.")
    key, offset = b"", 0
    while offset < end:
        shared, offset = varint(block, offset)
        added, offset = varint(block, offset)
        length, offset = varint(block, offset)
        if shared > len(key) or offset + added + length > end:
            raise CorruptWeightsError(f"{origin} is damaged: an entry reaches beyond its block, or before it.")
        if shared + added > LONGEST_KEY:
            raise WeightsLimitError(
                f"{origin} holds a name of {shared + added:,} bytes; the maximum is {LONGEST_KEY:,}."
            )
        key = key[:shared] + block[offset : offset + added]
        offset += added
        yield key, block[offset : offset + length]
        offset += length


# --- Checksums --------------------------------------------------------------------------------------------------------


def crc32c(data: bytes, before: int = 0) -> int:
    """CRC-32C of ``data``, continued from that of the bytes before them (RFC 3720, section 12.1)."""
    crc: int = _extend()(before, data)
    return crc


@cache
def _extend() -> Callable[[int, bytes], int]:
    extend: Callable[[int, bytes], int] = import_extra("google_crc32c", "A TensorFlow checkpoint").extend
    return extend


def masked(crc: int) -> int:
    """A checksum as it is stored, rotated and added to: a checksum of bytes that hold their own would be weak."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
