"""Reader of zip archives, by their directory, after a check that the directory agrees with what it points at.

``zipfile`` parses and inflates; the checks here are for what it accepts: overlapping members, false sizes, links, and a
directory of any length.  Format: PKWARE APPNOTE 6.3.
"""

import os
import stat
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO

from registry.archives.members import (
    CHUNK,
    MOST_MEMBERS,
    MOST_METADATA,
    Member,
    damage_as_corrupt,
    limit,
    too_large,
)
from registry.errors import ArchiveLimitError, CorruptArchiveError, UnsafeArchiveError
from registry.files.zip_format import (
    ENCRYPTED,
    END_SIGNATURE,
    END_SIZE,
    IN_ZIP64,
    LOCAL_SIZE,
    SEPARATE_SIZES,
    STRONGLY_ENCRYPTED,
    EndRecord,
    LocalHeader,
)

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_zip(file: IO[bytes], archive: str) -> Iterator[Member]:
    """The members of a zip, in the order of its directory.

    Args:
        file: The archive, open at its start.
        archive: Its name, for errors.

    Raises:
        UnsafeArchiveError: A member is not a regular file or directory, encrypted, or overlaps another.
        CorruptArchiveError: The archive is damaged.
        ArchiveLimitError: It holds more than its ``limit``.
    """
    with damage_as_corrupt(archive):
        end = _end_record(file, archive)
        with zipfile.ZipFile(file) as opened:
            records = opened.infolist()
            _check_all(file, records, end, archive)
            for record in records:
                chunks = _chunks(opened, record, archive)
                yield Member(record.orig_filename, record.is_dir(), chunks)
                for _ in chunks:  # those that were not read
                    pass


def _end_record(file: IO[bytes], archive: str) -> EndRecord:
    """The end of the archive; the size of the directory is checked before the directory is read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_SIZE))
    data = file.read()
    if len(data) < END_SIZE or not data.startswith(END_SIGNATURE):
        raise CorruptArchiveError(
            f"{archive} does not end as a zip archive does: it was cut short, or something follows it."
        )
    end = EndRecord.of(data)
    if end.members > MOST_MEMBERS or end.directory_size > MOST_METADATA:  # also where zip64 writes 2^16-1, 2^32-1
        raise ArchiveLimitError(
            f"{archive} holds more than {MOST_MEMBERS:,} files and directories, or {MOST_METADATA:,} bytes about them."
        )
    if end.directory_offset + end.directory_size + END_SIZE != size:
        raise CorruptArchiveError(f"{archive} is not one whole zip archive: its directory is not where its end says.")
    return end


def _check_all(file: IO[bytes], records: list[zipfile.ZipInfo], end: EndRecord, archive: str) -> None:
    """Refuse an archive whose directory is not to be trusted."""
    if len(records) != end.members:
        raise CorruptArchiveError(f"{archive} has {len(records):,} members, where its end says {end.members:,}.")
    for record in records:
        _check(record, archive)
    if sum(record.file_size for record in records) > limit(os.fstat(file.fileno()).st_size):
        raise too_large(archive)
    spans = sorted((record.header_offset, _end_of(file, record)) for record in records)
    start_of_directory = end.directory_offset
    if any(stop > start for (_, stop), (start, _) in pairwise([*spans, (start_of_directory, start_of_directory)])):
        raise UnsafeArchiveError(f"{archive} holds members that overlap.")  # readers differ in what they find there


def _check(record: zipfile.ZipInfo, archive: str) -> None:
    kind = stat.S_IFMT(record.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > record.is_dir():
        raise UnsafeArchiveError(
            f"{archive} holds a link or device, {record.orig_filename!r:.200}; no model needs one."
        )
    if record.flag_bits & (ENCRYPTED | STRONGLY_ENCRYPTED) or record.compress_type not in METHODS:
        raise UnsafeArchiveError(
            f"{archive} holds {record.orig_filename!r:.200} encrypted, or compressed by another method than deflate."
        )
    if record.is_dir() and record.file_size:
        raise UnsafeArchiveError(f"{archive} holds a directory with content, {record.orig_filename!r:.200}.")


def _end_of(file: IO[bytes], record: zipfile.ZipInfo) -> int:
    """The offset after a member's bytes, once the header before them has been compared with the directory."""
    file.seek(record.header_offset)
    header = LocalHeader.of(file.read(LOCAL_SIZE))
    left_open = {IN_ZIP64, 0} if header.flags & SEPARATE_SIZES else {IN_ZIP64}
    pairs = (
        (header.crc, record.CRC),
        (header.compressed_size, record.compress_size),
        (header.size, record.file_size),
    )
    differs = any(local != listed and local not in left_open for local, listed in pairs)
    if header.method != record.compress_type or differs:
        raise zipfile.BadZipFile(f"{record.orig_filename!r:.200} is described in two ways")
    return record.header_offset + header.length + record.compress_size


def _chunks(opened: zipfile.ZipFile, record: zipfile.ZipInfo, archive: str) -> Iterator[bytes]:
    with damage_as_corrupt(archive), opened.open(record) as content:
        left = record.file_size
        while chunk := content.read(CHUNK):
            left -= len(chunk)
            yield chunk
        if left:
            raise CorruptArchiveError(f"{archive} holds fewer bytes of {record.orig_filename!r:.200} than it declares.")
