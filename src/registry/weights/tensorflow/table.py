"""Sorted tables: the files in which LevelDB and TensorFlow keep many keys with their values.

Format: https://github.com/google/leveldb/blob/main/doc/table_format.md.  Blocks of entries in the order of their keys,
each with a checksum; a block that says where they are; and a footer that says where that is.  The file may be
anybody's: every number in it is checked against the bounds of what it counts.
"""

from collections.abc import Iterator
from itertools import islice, pairwise

from registry.errors import CorruptWeightsError, WeightsLimitError
from registry.files.protobuf import Malformed, varint
from registry.files.signatures import TABLE_END
from registry.files.strict_json import MEBIBYTE

FOOTER = 48
"""Bytes: two handles, zeros up to 40, and the magic number."""
TRAILER = 5
"""Bytes after each block: how it is compressed, and its checksum."""
NUMBER = 4
"""Bytes of a fixed number."""

UNCOMPRESSED, SNAPPY = 0, 1

LARGEST_BLOCK = 4 * MEBIBYTE
LARGEST_TABLE = 4 * MEBIBYTE
"""Bytes of all keys and values; a tensor has about 100."""
MOST_ENTRIES = 20_000
"""In a table, and in the block that says where the others are."""
LONGEST_KEY = 4096


def is_table(end: bytes) -> bool:
    """Whether a file that ends so is a sorted table."""
    return end.endswith(TABLE_END)


def read_table(data: bytes, origin: str) -> dict[bytes, bytes]:
    """All entries of a table, in the order of their keys; ``origin`` names it in errors.

    Raises CorruptWeightsError for whatever a writer would not have written, and WeightsLimitError.
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
            f"{origin} is damaged: a table has {FOOTER} bytes or more, and ends with the mark of one."
        )
    footer = data[-FOOTER:]
    _, _, place = _handle(footer, 0)  # of a block with properties of the table, which TensorFlow leaves empty
    index = _block(data, *_handle(footer, place)[:2], origin)
    handles = [_handle(value, 0)[:2] for _, value in islice(_entries(index, origin), MOST_ENTRIES)]
    for (begin, size), (following, _) in pairwise(handles):
        if begin + size + TRAILER > following:
            raise CorruptWeightsError(f"{origin} is damaged: its blocks overlap.")
    for begin, size in handles:
        yield _block(data, begin, size, origin)


def _handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Where a block begins, its size, and where in ``data`` the next thing stands."""
    begin, place = varint(data, place)
    size, place = varint(data, place)
    return begin, size, place


def _block(data: bytes, begin: int, size: int, origin: str) -> bytes:
    """The content of a block, after a check of its checksum."""
    end = begin + size
    if end + TRAILER > len(data) - FOOTER:
        raise CorruptWeightsError(
            f"{origin} is damaged: a block of {size:,} bytes at {begin:,} reaches beyond its end."
        )
    if size > LARGEST_BLOCK:
        raise WeightsLimitError(f"{origin} holds a block of {size:,} bytes, where {LARGEST_BLOCK:,} are the most.")
    content, kind = data[begin:end], data[end]
    if masked(checksum(data[begin : end + 1])) != int.from_bytes(data[end + 1 : end + TRAILER], "little"):
        raise CorruptWeightsError(f"{origin} is damaged: the checksum of its block at byte {begin:,} is wrong.")
    if kind == UNCOMPRESSED:
        return content
    if kind == SNAPPY:
        return _decompressed(content, origin)
    raise CorruptWeightsError(f"{origin} is damaged: a block is compressed in the unknown way {kind}.")


def _decompressed(content: bytes, origin: str) -> bytes:
    import cramjam  # TensorFlow writes no compressed blocks, other writers of tables do

    size, _ = varint(content, 0)
    if size > LARGEST_BLOCK:
        raise WeightsLimitError(f"{origin} holds a block of {size:,} bytes, where {LARGEST_BLOCK:,} are the most.")
    try:
        return bytes(cramjam.snappy.decompress_raw(content))
    except cramjam.DecompressionError as problem:
        raise CorruptWeightsError(f"{origin} is damaged: a block cannot be decompressed.") from problem


def _entries(block: bytes, origin: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block: each key is given as what it adds to a beginning of the one before."""
    restarts = int.from_bytes(block[-NUMBER:], "little")
    end = len(block) - NUMBER * (restarts + 1)
    if len(block) < NUMBER or end < 0:
        raise CorruptWeightsError(f"{origin} is damaged: a block of {len(block):,} bytes has {restarts:,} marks.")
    key, place = b"", 0
    while place < end:
        shared, place = varint(block, place)
        added, place = varint(block, place)
        length, place = varint(block, place)
        if shared > len(key) or place + added + length > end:
            raise CorruptWeightsError(f"{origin} is damaged: an entry reaches beyond its block, or before it.")
        if shared + added > LONGEST_KEY:
            raise WeightsLimitError(f"{origin} holds a name of {shared + added:,} bytes; {LONGEST_KEY:,} are the most.")
        key = key[:shared] + block[place : place + added]
        place += added
        yield key, block[place : place + length]
        place += length


# --- Checksums --------------------------------------------------------------------------------------------------------


def checksum(data: bytes, before: int = 0) -> int:
    """CRC-32C of ``data``, continued from the checksum of what comes ``before`` it (RFC 3720, section 12.1)."""
    import google_crc32c

    found: int = google_crc32c.extend(before, data)
    return found


def masked(checksum: int) -> int:
    """How a checksum is stored, since that of bytes which hold checksums would be weak: turned, and moved on."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
