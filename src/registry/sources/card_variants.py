"""Cards with other URLs: at a revision, and as a lock file lists them."""

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from registry.download import hub
from registry.errors import LockError, UnknownOptionError
from registry.files.urls import redacted
from registry.records import Card, FileSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.sources.origins import Origin


def at_revision(card: Card, revision: str) -> Card:
    """The card of the same model at a revision, of which no digest is known.

    Raises:
        UnknownOptionError: A file is not on the hub, and only the hub has revisions.
    """
    files = []
    for file in card.files:
        urls = [there for url in file.urls if (there := hub.at_revision(url, revision)) is not None]
        if urls:
            files.append(evolve(file, urls=urls, sha256=None, size=None))
    if {file.role for file in files} != {file.role for file in card.files} or not files:
        raise UnknownOptionError(
            f"The files of {card.name!r} are not all on the hub, and only the hub has revisions.",
            hint="Leave out revision=.",
        )
    return evolve(card, files=files, archives=())


def with_locked(card: Card, locked: "Mapping[str, Origin]", lock: Path) -> Card:
    """The card with one URL, size and digest for each file, or with none for files that were in an archive.

    Args:
        card: The card as it is declared.
        locked: The files that the lock file lists.
        lock: The lock file, for errors.

    Raises:
        LockError: A file no longer has the URL, or has another size or digest now.
    """
    archives = [url for url in card.archives if any(_is_at(url, origin) for origin in locked.values())]
    single = {name: origin for name, origin in locked.items() if not any(_is_at(url, origin) for url in archives)}
    roles = {file.role for file in card.files if file.filename in single}
    files = [
        _pinned(file, single[file.filename], lock) if file.filename in single else evolve(file, urls=())
        for file in _editions(card, single)
        if file.filename in single or file.role not in roles
    ]
    return evolve(card, files=files, archives=archives)


def _editions(card: Card, locked: "Mapping[str, Origin]") -> list[FileSpec]:
    """The files of a card; of several editions of a locked file, the one that has its URL, else the first."""
    chosen: dict[str, FileSpec] = {}
    for file in card.files:
        origin = locked.get(file.filename)
        here = origin is not None and any(_is_at(url, origin) for url in file.urls)
        if here or file.filename not in chosen:
            chosen[file.filename] = file
    return [file for file in card.files if file.filename not in locked or file is chosen[file.filename]]


def _pinned(file: FileSpec, locked: "Origin", lock: Path) -> FileSpec:
    for what, now, then in (("sha256", file.sha256, locked.sha256), ("size", file.size, locked.size)):
        if now not in (None, then):
            raise LockError(
                f"the card promises {what} {now} of {file.filename}, and the lock file {lock} lists {then}."
            )
    urls = [url for url in file.urls if _is_at(url, locked)]
    if not urls:
        raise LockError(
            f"the lock file {lock} lists {file.filename} at {redacted(locked.url)}, which is not among its URLs now: "
            f"{', '.join(map(redacted, file.urls))}."
        )
    if locked.revision is not None and (there := hub.at_revision(locked.url, locked.revision)) is not None:
        urls = [there, *(url for url in urls if url != there)]  # what the branch was when it was locked
    return evolve(file, urls=urls, sha256=locked.sha256, size=locked.size)


def _is_at(url: str, origin: "Origin") -> bool:
    return hub.recorded(url) == origin.url
