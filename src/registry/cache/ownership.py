"""Files of other users, in a cache that several share.

Who may write into a directory decides what is in it: its owner, its group.  These are trusted, since somebody chose the
cache.  Not trusted is what another user put where *everybody* may write: it is neither read, nor written through, nor
followed, if it is a link.
"""

import os
import stat
from pathlib import Path

from registry.cache.reading import patiently, status_of
from registry.errors import CacheError

DIRECTORY_MODE, FILE_MODE = 0o775, 0o664
"""The most that a new directory and a new file of the cache allow, whatever the umask: writing is not for everybody."""


def check_owner(path: Path, top: Path) -> None:
    """Refuse a file, directory or link that another user put where everybody may write; a missing one is fine.

    Args:
        path: The path.
        top: The directory of the cache, which is in no question itself.

    Raises:
        CacheError: It is one, or it is in one.
    """
    while path != top and _is_foreign(path):
        if _is_open_to_all(path.parent):
            raise CacheError(
                f"{path} belongs to another user, who may have put it there because everybody may write to "
                f"{path.parent}: nothing of it is used.",
                hint=f"Choose another directory for the cache, or remove that permission: chmod o-w {path.parent}.",
            )
        path = path.parent


def trusted_users() -> tuple[int, ...]:
    """The users whose files are trusted wherever they are: this one, and root."""
    return (os.geteuid(), 0) if hasattr(os, "geteuid") else ()


def _is_foreign(path: Path) -> bool:
    users, status = trusted_users(), status_of(path)
    return bool(users) and status is not None and status.st_uid not in users


def _is_open_to_all(directory: Path) -> bool:
    status = patiently(directory.stat)
    return status is not None and bool(status.st_mode & stat.S_IWOTH)
