"""Members of an archive: which are allowed, and how many bytes an archive may hold.

Names are plain, and no two of them name the same file anywhere: file systems differ in whether they distinguish upper
from lower case, and composed from decomposed accents.
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
"""Characters in the name of a file or directory in an archive."""

CHUNK = 2**18
"""Bytes that are read at once."""

Parts: TypeAlias = tuple[str, ...]
"""A member's name, cut at its slashes."""


@frozen
class Member:
    """A file or directory in an archive; ``chunks`` yields its bytes, once, before the next member is read."""

    name: str
    is_directory: bool
    chunks: Iterator[bytes]


@define
class Names:
    """The names of the members read so far from one archive."""

    archive: str
    """The archive, for errors."""
    _seen: dict[Parts, tuple[Parts, str]] = field(factory=dict, init=False)
    """Case-folded name -> the name as it was first spelled, and ``"file"`` or ``"directory"``."""

    def add(self, member: Member) -> Parts:
        """The parts of a member's name; () for the archive's own directory, ``./``.

        Raises:
            UnsafeArchiveError: The name leads elsewhere, or another member has it.
        """
        parts = _parts(member.name, self.archive)
        if not member.is_directory and (not parts or member.name.endswith("/")):
            raise UnsafeArchiveError(
                f"{self.archive} holds a file that is named as a directory is: {member.name!r:.200}."
            )
        for depth in range(1, len(parts) + 1):
            name = parts[:depth]
            what = "file" if depth == len(parts) and not member.is_directory else "directory"
            folded = tuple(unicodedata.normalize("NFC", part).casefold() for part in name)
            if folded in self._seen and (what == "file" or self._seen[folded] != (name, what)):
                raise UnsafeArchiveError(
                    f"{self.archive} holds {member.name!r}, and {'/'.join(self._seen[folded][0])!r} before it: systems "
                    f"differ in which one counts."
                )
            self._seen[folded] = name, what
        return parts


def limit(archive_size: int) -> int:
    """Bytes that an archive of this size may hold."""
    return min(LARGEST_CONTENT, max(ALWAYS_ALLOWED, LARGEST_RATIO * archive_size))


def too_large(archive: str) -> ArchiveLimitError:
    """The error for an archive that holds more than its ``limit``."""
    return ArchiveLimitError(
        f"{archive} holds more than {LARGEST_RATIO} times its own size, or than {LARGEST_CONTENT:,} bytes.",
        hint="If you trust it, unpack it yourself, and give the directory's path.",
    )


@contextmanager
def damage_as_corrupt(archive: str) -> Iterator[None]:
    """Turn the exceptions of readers for damaged archives, which are of every kind, into CorruptArchiveError."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):  # the disk's fault
            raise
        what = f"{type(problem).__name__}: {problem}".rstrip(".: ")
        raise CorruptArchiveError(f"{archive} is damaged: reading it ended in a {what}.") from problem


def _parts(name: str, archive: str) -> Parts:
    path = PurePosixPath(name)  # without slashes that are doubled or last, and without dots that stand alone
    plain = name.removeprefix("./").rstrip("/")
    if (
        path.is_absolute()
        or not name
        or (path.parts and "/".join(path.parts) != plain)
        or ".." in path.parts
        or re.search(r"[\\:\x00-\x1f\x7f]", name)  # on Windows a colon follows a drive, or precedes a hidden stream
    ):
        raise UnsafeArchiveError(f"{archive} holds a member named {name!r:.200}, which is not a plain name.")
    if any(len(part) > LONGEST_NAME for part in path.parts):
        raise UnsafeArchiveError(f"{archive} holds a name of more than {LONGEST_NAME} characters: {name!r:.200}.")
    return path.parts
