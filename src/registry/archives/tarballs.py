"""Reader of tar.gz archives, from the first byte to the last, and never back.

Headers are parsed by ``tarfile``; the step from one to the next is done here, because ``tarfile`` accepts an archive
that is cut off between two members, never reads the end of the gzip stream with its checksum, follows sizes below zero,
and reads descriptions of any length into memory.  Formats: POSIX.1-2001 (pax), GNU, RFC 1952.
"""

import os
import tarfile
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import IO

from registry.archives.members import (
    CHUNK,
    LARGEST_CONTENT,
    MOST_MEMBERS,
    MOST_METADATA,
    Member,
    damage_as_corrupt,
    limit,
    too_large,
)
from registry.errors import ArchiveLimitError, CorruptArchiveError, UnsafeArchiveError

BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(BLOCK)

GZIP_STREAM = 31
"""zlib's number for a gzip stream whose checksum and length it verifies."""

KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.CONTTYPE: "a contiguous file",
    tarfile.GNUTYPE_SPARSE: "a file with holes",
    b"M": "the rest of a file that began on another volume",
    b"V": "the label of a volume",
}
"""Members that no model needs."""


def read_tar_gz(file: IO[bytes], archive: str) -> Iterator[Member]:
    """The members of a tar.gz, in its order.

    Args:
        file: The archive, open at its start.
        archive: Its name, for errors.

    Raises:
        UnsafeArchiveError: A member is not a regular file or directory.
        CorruptArchiveError: The archive is damaged, or does not end as a tar.gz does.
        ArchiveLimitError: It holds more than its ``limit``.
    """
    with damage_as_corrupt(archive):
        stream = _Stream(_inflated(file, archive), archive)
        names = _LongNames(stream, archive)
        members = 0
        while (block := stream.take(BLOCK)) != ZEROS:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if names.describes(header):
                continue
            members += 1
            if members > MOST_MEMBERS:
                raise ArchiveLimitError(f"{archive} holds more than {MOST_MEMBERS:,} files and directories.")
            name, size = names.of(header)
            _check(header, name, size, archive)
            chunks = stream.chunks(size)
            yield Member(name, header.isdir(), chunks)
            for _ in chunks:  # those that were not read
                pass
            stream.take(-size % BLOCK)
        if names.pending or stream.take(BLOCK) != ZEROS or not stream.only_zeros_follow():
            raise CorruptArchiveError(f"{archive} does not end as a tar archive does: it was cut short, or joined.")


def _check(header: tarfile.TarInfo, name: str, size: int, archive: str) -> None:
    if not (header.isdir() or header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        kind = KINDS.get(header.type, f"a member of the kind {header.type!r}")
        raise UnsafeArchiveError(f"{archive} holds {kind}, {name!r:.200}; no model needs one.")
    if size < 0 or (header.isdir() and size):
        raise UnsafeArchiveError(f"{archive} gives {name!r:.200} a size of {size:,} bytes.")
    if size > LARGEST_CONTENT:
        raise too_large(archive)


# --- Names and sizes that do not fit a header -------------------------------------------------------------------------


class _LongNames:
    """Headers that precede a member, with names and sizes that do not fit its own header."""

    def __init__(self, stream: "_Stream", archive: str) -> None:
        self.stream = stream
        self.archive = archive
        self.pending: dict[str, str] = {}
        """Keys of the next member."""
        self.left = MOST_METADATA

    def describes(self, header: tarfile.TarInfo) -> bool:
        """Whether this header is one of those; its keys are then kept for ``of``."""
        if header.type not in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            return False
        self.left -= BLOCK + header.size
        if self.left < 0 or header.size < 0:
            raise ArchiveLimitError(f"{self.archive} describes its members in more than {MOST_METADATA:,} bytes.")
        data = self.stream.take(header.size)
        self.stream.take(-header.size % BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            self.pending["path"] = data.rstrip(b"\0").decode()
        elif header.type == tarfile.XHDTYPE:
            self.pending |= _records(data)
        elif {"path", "size", "linkpath"} & _records(data).keys():
            raise UnsafeArchiveError(f"{self.archive} gives all its members one name or size.")
        return True

    def of(self, header: tarfile.TarInfo) -> tuple[str, int]:
        """Name and size of the member with this header."""
        keys, self.pending = self.pending, {}
        if any(key.startswith("GNU.sparse.") for key in keys):
            raise UnsafeArchiveError(f"{self.archive} holds a sparse file; no model needs one.")
        return keys.get("path", header.name), int(keys.get("size", header.size))


def _records(data: bytes) -> dict[str, str]:
    """Extended header records, each ``length key=value`` and a line feed, all of which the length counts."""
    found = {}
    start = 0
    while start < len(data):
        space = data.index(b" ", start)
        end = start + int(data[start:space])
        if end <= space or data[end - 1 : end] != b"\n":
            raise ValueError("a record of an extended header has another length than it declares")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        found[key.decode()] = value.decode()
        start = end
    return found


# --- Bytes ------------------------------------------------------------------------------------------------------------


def _inflated(file: IO[bytes], archive: str) -> Iterator[bytes]:
    """The bytes in a gzip stream; it must be one stream, with nothing after it, and its checksum right."""
    left = limit(os.fstat(file.fileno()).st_size)
    engine = zlib.decompressobj(wbits=GZIP_STREAM)
    while not engine.eof:
        with damage_as_corrupt(archive):
            given = engine.unconsumed_tail or file.read(CHUNK)
            chunk = engine.decompress(given, CHUNK)
        if not given and not chunk:
            raise CorruptArchiveError(f"{archive} is truncated: its gzip stream has no end.")
        left -= len(chunk)
        if left < 0:
            raise too_large(archive)
        yield chunk
    if engine.unused_data or file.read(1):
        raise CorruptArchiveError(f"{archive} continues after the end of its gzip stream: junk, or a second archive.")


class _Stream:
    """Bytes that come in chunks, read in portions of other sizes."""

    def __init__(self, source: Iterator[bytes], archive: str) -> None:
        self.source = source
        self.archive = archive
        self.held = b""

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """So many bytes, as they come."""
        while size:
            if not self.held:
                self.held = self._next()
            chunk, self.held = self.held[:size], self.held[size:]
            size -= len(chunk)
            yield chunk

    def only_zeros_follow(self) -> bool:
        """Read to the end, where the checksum stands, and say whether there were only zeros."""
        return not any(chunk.strip(b"\0") for chunk in chain([self.held], self.source))

    def _next(self) -> bytes:
        chunk = next(self.source, None)
        if chunk is None:
            raise CorruptArchiveError(f"{self.archive} is truncated in the middle of a member, or before its end.")
        return chunk
