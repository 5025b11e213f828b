"""Unpack a tar.gz or zip that a stranger made: member by member, and never with ``extractall``.

Accepted are regular files and folders with plain names, in an archive that is whole to its last byte.  There are no
links to follow, and a header only ever says how many bytes come after it, so that the known attacks on extraction have
nothing to work with.  Modes, owners and times are not taken over.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from registry.archives.members import Content, Member, Names, Parts
from registry.archives.tarballs import read_tar_gz
from registry.archives.zips import read_zip
from registry.errors import CorruptArchiveError

IMPOSTORS = {
    b"\x1f\x8b": "a gzip file",
    b"PK\3\4": "a zip archive",
    b"<": "an HTML or XML page",
    b"version https://git-lfs": "the pointer of git-lfs to a file; `git lfs pull` fetches it",
    b"\x80": "a pickle",
    b"{": "a JSON file",
    b"": "something else",
}
"""What a file is that begins with these bytes; all begin with the last."""

USTAR = slice(257, 262)
"""Where a tar archive says that it is one."""


def unpack(archive: Path, folder: Path, *, called: str | None = None) -> dict[str, Content]:
    """Write the files of an archive into the empty ``folder``; return what was written, by name.

    Taken are the files at the top of the archive or, where there are none, those of the one folder in it; what lies
    deeper is checked and left out.  ``called`` is the archive's name (its own if None): the suffix says what it is.

    Raises UnsafeArchiveError, CorruptArchiveError and ArchiveLimitError, and OSError where the disk is at fault.
    ``folder`` then holds files named by numbers at most: names are given when the whole archive has been found good.
    """
    called = called or archive.name
    with archive.open("rb") as file:
        members = _reader(called, file)(file, called)
        written = _write_all(members, folder, called)
    root = _root(written)
    found = {}
    for parts, (number, content) in written.items():
        if parts[:-1] == root:
            (folder / number).rename(folder / parts[-1])
            found[parts[-1]] = content
        else:
            (folder / number).unlink()
    return found


# --- Which reader -----------------------------------------------------------------------------------------------------

Reader = Callable[[IO[bytes], str], Iterator[Member]]

READERS: Mapping[str, tuple[bytes, Reader]] = {
    ".tar.gz": (b"\x1f\x8b", read_tar_gz),
    ".tgz": (b"\x1f\x8b", read_tar_gz),
    ".zip": (b"PK\3\4", read_zip),
}
"""Suffix (those of ``ARCHIVE_SUFFIXES``) -> the bytes with which such a file begins, and what reads it."""


def _reader(called: str, file: IO[bytes]) -> Reader:
    start, reader = next(pair for suffix, pair in READERS.items() if called.endswith(suffix))
    first = file.read(512)
    file.seek(0)
    if not first.startswith(start):
        raise CorruptArchiveError(
            f"{called} is not what its name says: it is {_kind(first)}.",
            hint="Fetch it again: a download that went wrong leaves such files.",
        )
    return reader


def _kind(first: bytes) -> str:
    if not first:
        return "an empty file"
    if first[USTAR] == b"ustar":
        return "a tar archive that is not compressed"
    text = first.lstrip()
    return next(kind for start, kind in IMPOSTORS.items() if text.startswith(start))


# --- Members to files -------------------------------------------------------------------------------------------------


def _write_all(members: Iterator[Member], folder: Path, called: str) -> dict[Parts, tuple[str, Content]]:
    """Write every file that may be wanted: name in the archive -> the number which names it here, and its content."""
    names = Names(called)
    written: dict[Parts, tuple[str, Content]] = {}
    for member in members:
        parts = names.add(member)
        if not member.is_folder and len(parts) <= 2 and not _is_apples(parts):
            number = str(len(written))
            written[parts] = number, _write(folder / number, member.pieces)
    return written


def _write(path: Path, pieces: Iterable[bytes]) -> Content:
    """Write a new file, which nobody may write to afterwards."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o444)
    with os.fdopen(handle, "wb") as file:
        for piece in pieces:
            digest.update(piece)
            size += file.write(piece)
    return Content(size, digest.hexdigest())


def _root(names: Iterable[Parts]) -> Parts:
    """The folder in the archive whose files are meant: its top, unless there is but one folder."""
    folders = {parts[:-1] for parts in names}
    return folders.pop() if len(folders) == 1 else ()


def _is_apples(parts: Parts) -> bool:
    """Whether it holds what macOS packs beside a file: attributes that no other system has."""
    return parts[0] == "__MACOSX" or any(part.startswith("._") for part in parts)
