"""Unpacking of a tar.gz or zip from an untrusted source: member by member, and never with ``extractall``.

Regular files and directories with plain names are accepted, in an archive that is intact to its last byte.  There are
no links to follow, and a header only declares how many bytes follow it, so that the known attacks on extraction do not
apply.  Modes, owners and times are not taken over.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from registry.archives.members import Member, Names, Parts
from registry.archives.tarballs import read_tar_gz
from registry.archives.zips import read_zip
from registry.errors import CorruptArchiveError
from registry.files.digests import FileDigest
from registry.files.signatures import GZIP, START, ZIP, describe


def unpack(archive: Path, directory: Path, *, called: str | None = None) -> dict[str, FileDigest]:
    """Write the files of an archive into an empty directory.

    Files at the top of the archive are taken or, where there are none, those of the only directory in it; members below
    are checked and dropped.

    Args:
        archive: The archive.
        directory: An empty directory.  After an error it holds at most files named by numbers: names are given when the
            whole archive has been found good.
        called: The name of the archive, whose suffix says what it is; None for the name of its file.

    Returns:
        Name of each file -> its size and sha256.

    Raises:
        UnsafeArchiveError: A member could land elsewhere, or means two things.
        CorruptArchiveError: The archive is damaged, or of another kind than its name says.
        ArchiveLimitError: It holds absurdly much.
        OSError: The disk is at fault.
    """
    called = called or archive.name
    with archive.open("rb") as file:
        members = _reader(called, file)(file, called)
        written = _write_all(members, directory, called)
    root = _root(written)
    found = {}
    for parts, (number, digest) in written.items():
        if parts[:-1] == root:
            (directory / number).rename(directory / parts[-1])
            found[parts[-1]] = digest
        else:
            (directory / number).unlink()
    return found


# --- Which reader -----------------------------------------------------------------------------------------------------

Reader = Callable[[IO[bytes], str], Iterator[Member]]

READERS: Mapping[str, tuple[bytes, Reader]] = {
    ".tar.gz": (GZIP, read_tar_gz),
    ".tgz": (GZIP, read_tar_gz),
    ".zip": (ZIP, read_zip),
}
"""Suffix (those of ``ARCHIVE_SUFFIXES``) -> the first bytes of such a file, and its reader."""


def _reader(called: str, file: IO[bytes]) -> Reader:
    signature, reader = next(pair for suffix, pair in READERS.items() if called.endswith(suffix))
    start = file.read(START)
    file.seek(0)
    if not start.startswith(signature):
        raise CorruptArchiveError(
            f"{called} is not what its name says: it is {describe(start)}.",
            hint="Download it again: a download that went wrong leaves such files.",
        )
    return reader


# --- Members to files -------------------------------------------------------------------------------------------------


def _write_all(members: Iterator[Member], directory: Path, called: str) -> dict[Parts, tuple[str, FileDigest]]:
    """Write every file that may be needed: name in the archive -> the number that names it here, and its digest."""
    names = Names(called)
    written: dict[Parts, tuple[str, FileDigest]] = {}
    for member in members:
        parts = names.add(member)
        if not member.is_directory and len(parts) <= 2 and not _is_resource_fork(parts):
            number = str(len(written))
            written[parts] = number, _write(directory / number, member.chunks)
    return written


def _write(path: Path, chunks: Iterable[bytes]) -> FileDigest:
    """Write a new file, which nobody may write to afterwards."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o444)
    with os.fdopen(handle, "wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            size += file.write(chunk)
    return FileDigest(size, digest.hexdigest())


def _root(names: Iterable[Parts]) -> Parts:
    """The directory in the archive whose files are taken: its top, unless there is but one directory."""
    directories = {parts[:-1] for parts in names}
    return directories.pop() if len(directories) == 1 else ()


def _is_resource_fork(parts: Parts) -> bool:
    """Whether a file holds what macOS packs next to another one: attributes that no other system has."""
    return parts[0] == "__MACOSX" or any(part.startswith("._") for part in parts)
