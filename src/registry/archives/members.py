"""What a member of an archive may be, and how much an archive may hold.

Names are plain, and no two of them mean the same file anywhere: file systems differ in whether they tell capitals
apart, and composed from decomposed accents.
"""

import errno
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TypeAlias

from attrs import define, field, frozen

from registry.errors import ArchiveLimitError, CorruptArchiveError, RegistryError, UnsafeArchiveError

MOST_MEMBERS = 1_000
MOST_METADATA = 2**20
"""Bytes that describe members: long names, extended headers, a zip's directory."""
LARGEST_CONTENT = 8 * 2**30
"""Bytes of all members together."""
LARGEST_RATIO = 200
"""Bytes of content for each byte of the archive: weights reach 1.1, text 5, and a bomb 1,000."""
ALWAYS_ALLOWED = 2**20
"""Bytes that any archive may hold, whatever the ratio."""
LONGEST_NAME = 200
"""Characters of a file or folder in an archive."""

PIECE = 2**18
"""Bytes that are read at once."""

Parts: TypeAlias = tuple[str, ...]
"""A member's name, cut at its slashes."""


@frozen
class Member:
    """A file or folder in an archive; ``pieces`` yields its bytes, once, before the next member is asked for."""

    name: str
    is_folder: bool
    pieces: Iterator[bytes]


@frozen
class Content:
    """Size in bytes and sha256 of an unpacked file."""

    size: int
    sha256: str


@define
class Names:
    """The names met so far in one archive."""

    origin: str
    _seen: dict[Parts, tuple[Parts, str]] = field(factory=dict, init=False)
    """Folded name -> the name as it was first spelt, and what it is of."""

    def add(self, member: Member) -> Parts:
        """The parts of a member's name; () for the archive's own folder, ``./``.

        Raises UnsafeArchiveError for a name that leads elsewhere, and for one that is there already.
        """
        parts = _parts(member.name, self.origin)
        if not member.is_folder and (not parts or member.name.endswith("/")):
            raise UnsafeArchiveError(f"{self.origin} holds a file that is named as a folder is: {member.name!r:.200}.")
        for depth in range(1, len(parts) + 1):
            name = parts[:depth]
            what = "file" if depth == len(parts) and not member.is_folder else "folder"
            folded = tuple(unicodedata.normalize("NFC", part).casefold() for part in name)
            if folded in self._seen and (what == "file" or self._seen[folded] != (name, what)):
                raise UnsafeArchiveError(
                    f"{self.origin} holds {member.name!r}, and {'/'.join(self._seen[folded][0])!r} before it: systems "
                    f"differ in which one counts."
                )
            self._seen[folded] = name, what
        return parts


def limit(archive_size: int) -> int:
    """Bytes that an archive of this size may hold."""
    return min(LARGEST_CONTENT, max(ALWAYS_ALLOWED, LARGEST_RATIO * archive_size))


def too_large(origin: str) -> ArchiveLimitError:
    """The error for an archive that holds more than its ``limit``."""
    return ArchiveLimitError(
        f"{origin} holds more than {LARGEST_RATIO} times its own size, or than {LARGEST_CONTENT:,} bytes.",
        hint="If you trust it, unpack it yourself, and give the folder's path.",
    )


@contextmanager
def damage_as_corrupt(origin: str) -> Iterator[None]:
    """Turn what readers raise for damaged archives, which is of every kind, into CorruptArchiveError."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):  # the disk's fault
            raise
        what = f"{type(problem).__name__}: {problem}".rstrip(".: ")
        raise CorruptArchiveError(f"{origin} is damaged: reading it ended in a {what}.") from problem


def _parts(name: str, origin: str) -> Parts:
    path = PurePosixPath(name)  # without slashes that are doubled or last, and without dots that stand alone
    plain = name.removeprefix("./").rstrip("/")
    if (
        path.is_absolute()
        or not name
        or (path.parts and "/".join(path.parts) != plain)
        or ".." in path.parts
        or re.search(r"[\\:\x00-\x1f\x7f]", name)  # on Windows a colon follows a drive, or precedes a hidden stream
    ):
        raise UnsafeArchiveError(f"{origin} holds a member named {name!r:.200}, which is no plain name.")
    if any(len(part) > LONGEST_NAME for part in path.parts):
        raise UnsafeArchiveError(f"{origin} holds a name of more than {LONGEST_NAME} characters: {name!r:.200}.")
    return path.parts
