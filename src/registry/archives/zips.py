"""Read a zip: by its directory, after making sure that the directory and what it points at tell one story.

``zipfile`` parses and inflates; here is checked what it lets pass: members that lie over each other, sizes that lie,
links, and a directory of any length.  Format: PKWARE's APPNOTE 6.3.
"""

import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO

from registry.archives.members import (
    MOST_MEMBERS,
    MOST_METADATA,
    PIECE,
    Member,
    damage_as_corrupt,
    limit,
    too_large,
)
from registry.errors import ArchiveLimitError, CorruptArchiveError, UnsafeArchiveError

END = struct.Struct("<4s4H2LH")
"""The last record: signature, disks, counts, size and place of the directory, length of a comment."""
END_SIGNATURE = b"PK\5\6"
LOCAL = struct.Struct("<4s5H3L2H")
"""What stands before a member's bytes; the last two are the lengths of its name and of more fields."""

LARGE = 2**32 - 1
"""Says that the number stands in a field of zip64."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0b1 | 0b1000000
"""Bits of a member's flags."""
SEPARATE_SIZES = 0b1000
"""Bit: checksum and sizes stand again behind the member's bytes."""


def read_zip(file: IO[bytes], origin: str) -> Iterator[Member]:
    """The files and folders of a zip, in the order of its directory."""
    with damage_as_corrupt(origin):
        directory, members = _directory(file, origin)
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if len(records) != members:
                raise CorruptArchiveError(f"{origin} has {len(records):,} members, where its end says {members:,}.")
            for record in records:
                _check(record, origin)
            if sum(record.file_size for record in records) > limit(os.fstat(file.fileno()).st_size):
                raise too_large(origin)
            _check_places(file, records, directory, origin)
            for record in records:
                pieces = _pieces(archive, record, origin)
                yield Member(record.orig_filename, record.is_dir(), pieces)
                for _ in pieces:  # what nobody wanted
                    pass


def _directory(file: IO[bytes], origin: str) -> tuple[int, int]:
    """Where the directory begins, and of how many members it tells; its size is looked at before it is read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END.size))
    end = file.read()
    if len(end) < END.size or not end.startswith(END_SIGNATURE):
        raise CorruptArchiveError(
            f"{origin} does not end as a zip archive does: it was cut short, or something follows it."
        )
    *_, members, directory, place, _ = END.unpack(end)
    if members > MOST_MEMBERS or directory > MOST_METADATA:  # also where zip64 writes 0xffff, 0xffffffff and elsewhere
        raise ArchiveLimitError(
            f"{origin} holds more than {MOST_MEMBERS:,} files and folders, or {MOST_METADATA:,} bytes about them."
        )
    if place + directory + END.size != size:
        raise CorruptArchiveError(f"{origin} is not one whole zip archive: its directory is not where its end says.")
    return place, members


def _check(record: zipfile.ZipInfo, origin: str) -> None:
    kind = stat.S_IFMT(record.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > record.is_dir():
        raise UnsafeArchiveError(f"{origin} holds a link or device, {record.orig_filename!r:.200}; no model needs one.")
    if record.flag_bits & ENCRYPTED or record.compress_type not in METHODS:
        raise UnsafeArchiveError(
            f"{origin} holds {record.orig_filename!r:.200} encrypted, or compressed by another method than deflate."
        )
    if record.is_dir() and record.file_size:
        raise UnsafeArchiveError(f"{origin} holds a folder with content, {record.orig_filename!r:.200}.")


def _check_places(file: IO[bytes], records: list[zipfile.ZipInfo], end: int, origin: str) -> None:
    """Refuse members that lie over each other: they hold more than their bytes, or one thing to each reader."""
    places = sorted((record.header_offset, _end_of(file, record)) for record in records)
    if any(stop > start for (_, stop), (start, _) in pairwise([*places, (end, end)])):
        raise UnsafeArchiveError(f"{origin} holds members that lie over each other.")


def _end_of(file: IO[bytes], record: zipfile.ZipInfo) -> int:
    """Where a member's bytes end, after comparing what stands before them with what the directory says."""
    file.seek(record.header_offset)
    *_, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(file.read(LOCAL.size))
    left_open = {LARGE, 0} if flags & SEPARATE_SIZES else {LARGE}
    pairs = ((crc, record.CRC), (packed, record.compress_size), (size, record.file_size))
    if method != record.compress_type or any(said != known and said not in left_open for said, known in pairs):
        raise zipfile.BadZipFile(f"{record.orig_filename!r:.200} is described in two ways")
    return int(record.header_offset + LOCAL.size + name + extra + record.compress_size)


def _pieces(archive: zipfile.ZipFile, record: zipfile.ZipInfo, origin: str) -> Iterator[bytes]:
    with damage_as_corrupt(origin), archive.open(record) as content:
        left = record.file_size
        while piece := content.read(PIECE):
            left -= len(piece)
            yield piece
        if left:
            raise CorruptArchiveError(f"{origin} holds fewer bytes of {record.orig_filename!r:.200} than it says.")
