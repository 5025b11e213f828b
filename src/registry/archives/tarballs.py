"""Read a tar.gz: from its first byte to its last, and never back.

Headers are parsed by ``tarfile``; walking from one to the next is done here, because ``tarfile`` takes an archive that
breaks off between two members for a whole one, never looks at the end of the gzip stream with its checksum, follows
sizes below zero, and reads descriptions of any length into memory.  Formats: POSIX.1-2001 (pax), GNU, RFC 1952.
"""

import os
import tarfile
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import IO

from registry.archives.members import (
    LARGEST_CONTENT,
    MOST_MEMBERS,
    MOST_METADATA,
    PIECE,
    Member,
    damage_as_corrupt,
    limit,
    too_large,
)
from registry.errors import ArchiveLimitError, CorruptArchiveError, UnsafeArchiveError

BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(BLOCK)

GZIP = 31
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


def read_tar_gz(file: IO[bytes], origin: str) -> Iterator[Member]:
    """The files and folders of a tar.gz, in its order."""
    with damage_as_corrupt(origin):
        stream = _Stream(_inflated(file, origin), origin)
        names = _LongNames(stream, origin)
        members = 0
        while (block := stream.take(BLOCK)) != ZEROS:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if names.describes(header):
                continue
            members += 1
            if members > MOST_MEMBERS:
                raise ArchiveLimitError(f"{origin} holds more than {MOST_MEMBERS:,} files and folders.")
            name, size = names.of(header)
            _check(header, name, size, origin)
            pieces = stream.pieces(size)
            yield Member(name, header.isdir(), pieces)
            for _ in pieces:  # what nobody wanted
                pass
            stream.take(-size % BLOCK)
        if names.pending or stream.take(BLOCK) != ZEROS or not stream.only_zeros_follow():
            raise CorruptArchiveError(f"{origin} does not end as a tar archive does: it was cut short, or joined.")


def _check(header: tarfile.TarInfo, name: str, size: int, origin: str) -> None:
    if not (header.isdir() or header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        kind = KINDS.get(header.type, f"a member of the kind {header.type!r}")
        raise UnsafeArchiveError(f"{origin} holds {kind}, {name!r:.200}; no model needs one.")
    if size < 0 or (header.isdir() and size):
        raise UnsafeArchiveError(f"{origin} gives {name!r:.200} a size of {size:,} bytes.")
    if size > LARGEST_CONTENT:
        raise too_large(origin)


# --- Names and sizes that do not fit a header -------------------------------------------------------------------------


class _LongNames:
    """Headers that stand before a member and say more of it than its own header can."""

    def __init__(self, stream: "_Stream", origin: str) -> None:
        self.stream = stream
        self.origin = origin
        self.pending: dict[str, str] = {}
        """What was said of the next member."""
        self.left = MOST_METADATA

    def describes(self, header: tarfile.TarInfo) -> bool:
        """Whether this header is one of those; what it says is then kept for ``of``."""
        if header.type not in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            return False
        self.left -= BLOCK + header.size
        if self.left < 0 or header.size < 0:
            raise ArchiveLimitError(f"{self.origin} describes its members in more than {MOST_METADATA:,} bytes.")
        said = self.stream.take(header.size)
        self.stream.take(-header.size % BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            self.pending["path"] = said.rstrip(b"\0").decode()
        elif header.type == tarfile.XHDTYPE:
            self.pending |= _records(said)
        elif {"path", "size", "linkpath"} & _records(said).keys():
            raise UnsafeArchiveError(f"{self.origin} gives all its members one name or size.")
        return True

    def of(self, header: tarfile.TarInfo) -> tuple[str, int]:
        """Name and size of the member with this header."""
        said, self.pending = self.pending, {}
        if any(key.startswith("GNU.sparse.") for key in said):
            raise UnsafeArchiveError(f"{self.origin} holds a file with holes; no model needs one.")
        return said.get("path", header.name), int(said.get("size", header.size))


def _records(said: bytes) -> dict[str, str]:
    """Extended header records, each ``length key=value`` and a line feed, all of which the length counts."""
    found = {}
    start = 0
    while start < len(said):
        space = said.index(b" ", start)
        end = start + int(said[start:space])
        if end <= space or said[end - 1 : end] != b"\n":
            raise ValueError("a record of an extended header has another length than it says")
        key, _, value = said[space + 1 : end - 1].partition(b"=")
        found[key.decode()] = value.decode()
        start = end
    return found


# --- Bytes ------------------------------------------------------------------------------------------------------------


def _inflated(file: IO[bytes], origin: str) -> Iterator[bytes]:
    """What a gzip stream holds; it must be one stream, with nothing behind it, and its checksum right."""
    left = limit(os.fstat(file.fileno()).st_size)
    engine = zlib.decompressobj(wbits=GZIP)
    while not engine.eof:
        with damage_as_corrupt(origin):
            given = engine.unconsumed_tail or file.read(PIECE)
            piece = engine.decompress(given, PIECE)
        if not given and not piece:
            raise CorruptArchiveError(f"{origin} breaks off: its gzip stream has no end.")
        left -= len(piece)
        if left < 0:
            raise too_large(origin)
        yield piece
    if engine.unused_data or file.read(1):
        raise CorruptArchiveError(f"{origin} goes on after the end of its gzip stream: junk, or a second archive.")


class _Stream:
    """Pieces of bytes, taken in other pieces."""

    def __init__(self, source: Iterator[bytes], origin: str) -> None:
        self.source = source
        self.origin = origin
        self.held = b""

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """So many bytes, as they come."""
        while size:
            if not self.held:
                self.held = self._next()
            piece, self.held = self.held[:size], self.held[size:]
            size -= len(piece)
            yield piece

    def only_zeros_follow(self) -> bool:
        """Read to the end, where the checksum stands, and say whether there were only zeros."""
        return not any(piece.strip(b"\0") for piece in chain([self.held], self.source))

    def _next(self) -> bytes:
        piece = next(self.source, None)
        if piece is None:
            raise CorruptArchiveError(f"{self.origin} breaks off in the middle of a member, or before its end.")
        return piece
