"""Files that other programs keep on this disk: used where they lie, never changed, never copied."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import frozen


class Find(Protocol):
    """Looks for a file in the cache of another program."""

    def __call__(self, url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:
        """The file which this address held, or None.

        ``url`` is normalised, and of the hub itself whatever ``HF_ENDPOINT`` says; ``cache_dir`` is our cache's folder.
        With ``verify``, the bytes have been compared with ``sha256``, if that is given, or with the digest that the
        file's name carries; without, only existence was looked at (for listings).  Raises nothing.
        """


@frozen
class Snapshot:
    """A commit of a hub repository of which another program holds files."""

    commit: str
    names: frozenset[str]
    """Files of that commit which it holds; often not all."""


FILES: tuple[Find, ...] = ()
"""Asked in this order for a file that our own cache lacks."""

SNAPSHOTS: tuple[Callable[[str, str], Snapshot | None], ...] = ()
"""Asked with repository (``org/name``) and revision, where our own cache has no listing of it."""


def find(url: str, *, cache_dir: Path, sha256: str | None = None, verify: bool = True) -> Path | None:
    """The first answer of ``FILES``."""
    answers = (source(url, cache_dir=cache_dir, sha256=sha256, verify=verify) for source in FILES)
    return next(filter(None, answers), None)


def snapshot(repository: str, revision: str) -> Snapshot | None:
    """The first answer of ``SNAPSHOTS``."""
    return next(filter(None, (source(repository, revision) for source in SNAPSHOTS)), None)
