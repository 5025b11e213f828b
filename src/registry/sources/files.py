"""From a resolution to paths on this disk."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import evolve

from registry.download.policy import WEB, Policy
from registry.errors import (
    CacheCorruptError,
    CacheError,
    FetchError,
    HTTPStatusError,
    IntegrityError,
    MissingFileError,
    NotCachedError,
    UnknownOptionError,
)
from registry.records import Card, FileSpec, Paths
from registry.sources.packages import install_command, package_path
from registry.sources.resolve import Source

# Modules of the cache, archives, repositories and lock files are imported where they are used: a folder needs none.


def collect(
    resolution: Source,
    *,
    roles: Collection[str] | None = None,
    cache_dir: str | bytes | Path | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
    update: bool = False,
) -> Paths:
    """The files of a model: published name -> path.

    A directory gives all its files, without those of its subdirectories; a file gives itself, the prefix of a
    checkpoint what lies beside it; all else gives the files of these ``roles`` (None for all), which are fetched unless
    they are here already.  Of the files of a card with one role, and of the addresses of each, the first that can be
    had is taken; what is here goes before what is not.

    Raises MissingFileError for files that are nowhere, NotCachedError for those that may not or cannot be fetched now,
    IntegrityError for a size or digest that was not promised, LockError for what differs from the lock file that is in
    force (see ``locking``), and all else that ``fetch`` raises.
    """
    how = Policy(cache_dir=cache_dir, offline=offline, progress=progress, update=update)
    if not os.environ.get("REGISTRY_LOCK"):
        return gather(resolution, roles, how)
    from registry.sources import lockfile as locking

    lock = locking.in_force()
    assert lock is not None
    found = gather(lock.narrow(resolution, how.cache), roles, how)
    lock.check(resolution, found, how.cache, whole=roles is None)
    return found


def gather(resolution: Source, roles: Collection[str] | None, how: Policy) -> Paths:
    """``collect``, whatever a lock file says."""
    return _COLLECTORS[resolution.kind](resolution, roles, how)


class Files:
    """The files of one source under one policy: made once for each load, asked for by role.

    Args:
        source: Where the files are, as ``resolve`` returns it.
        policy: How they are fetched.
    """

    def __init__(self, source: Source, policy: Policy | None = None) -> None:
        self.source = source
        self.policy = policy or Policy()
        self._answers: dict[frozenset[str], Paths] = {}

    def of(self, *roles: str) -> Paths:
        """The files that play one of these roles; without roles, all files.

        A directory gives all its files whatever the roles.  What was answered once is not looked for again.

        Returns:
            Published file name -> path on this disk.

        Raises:
            MissingFileError: A file is nowhere.
            NotCachedError: A file may not or cannot be fetched now.
            IntegrityError: A file differs from the size or digest that was promised.
            LockError: A file differs from the lock file that is in force.
        """
        asked = frozenset(roles)
        if asked not in self._answers:
            how = self.policy
            self._answers[asked] = collect(
                self.source,
                roles=asked or None,
                cache_dir=how.cache_dir,
                offline=how.offline,
                progress=how.progress,
                update=how.update,
            )
        return self._answers[asked]


def is_local(card: Card, cache_dir: str | bytes | Path | None = None) -> bool:
    """Whether all files of a card can be had without a network."""
    how = Policy(cache_dir=cache_dir, offline=True)
    archived = any(_is_held(url, how) for url in card.archives)
    lacking = [files[0].role for files in _by_role(card) if _lacking(files, how)]
    return not set(lacking) - set(ARCHIVED) if archived else bool(card.files) and not lacking


ARCHIVED = ("config", "weights")
"""Roles of the files which an archive certainly holds."""


# --- Where files lie --------------------------------------------------------------------------------------------------


def _by_role(card: Card, roles: Collection[str] | None = None) -> list[list[FileSpec]]:
    """The files of a card in these roles (None for all), those of one role together: they are alternatives."""
    grouped: dict[str, list[FileSpec]] = {}
    for file in card.files:
        if roles is None or file.role in roles:
            grouped.setdefault(file.role, []).append(file)
    return list(grouped.values())


def _lacking(files: Iterable[FileSpec], how: Policy) -> bool:
    """Whether none of the files is on this disk, as far as can be told without reading them."""
    try:
        return not any(
            _on_disk(url, file) or _is_held(url, how, sha256=file.sha256, size=file.size)
            for file in files
            for url in file.urls
        )
    except (FetchError, CacheError):
        return True


def _is_held(url: str, how: Policy, **promised: Any) -> bool:
    """Whether the bytes of an address on the web are on this disk."""
    if not url.startswith(WEB):
        return False
    from registry.download.fetch import held

    return held(url, how, **promised)


def _on_disk(url: str, file: FileSpec) -> Path | None:
    """The file of this address that needs no cache.  Raises IntegrityError when its size is not the promised one."""
    scheme = url.partition(":")[0]
    path: Path | None = None
    if scheme == "file":
        path = Path(unquote(urlsplit(url).path))
    elif scheme == "pkg":
        with suppress(MissingFileError):
            path = package_path(url)
    if path is None or not path.is_file():
        return None
    size = path.stat().st_size
    if file.size not in (None, size):
        raise IntegrityError(
            f"{path} has {size:,} bytes, where {file.size:,} are promised.",
            hint="It was cut short or changed: install it anew.",
        )
    return path


# --- One collector for each kind of resolution ------------------------------------------------------------------------


def _of_path(path: Path) -> Paths:
    if path.is_file():
        return {path.name: path}
    try:
        return {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    except OSError as problem:
        raise FetchError(f"the directory {str(path)!r} cannot be read: {problem.strerror}.") from problem


def _from_disk(resolution: Source, _roles: Collection[str] | None, _how: Policy) -> Paths:
    assert resolution.path is not None
    return _of_path(resolution.path)


def _from_prefix(resolution: Source, roles: Collection[str] | None, _how: Policy) -> Paths:
    """The files of a checkpoint where weights alone are asked for, else all files beside it."""
    assert resolution.path is not None
    beside = _of_path(resolution.path.parent)
    prefix = resolution.path.name
    starts = f"{prefix}.index", f"{prefix}.data-"
    own = {name: path for name, path in beside.items() if name == prefix or name.startswith(starts)}
    return own if roles is not None and set(roles) == {"weights"} else beside


def _from_package(resolution: Source, _roles: Collection[str] | None, _how: Policy) -> Paths:
    assert resolution.url is not None
    return _of_path(package_path(resolution.url))


def _from_hub(resolution: Source, roles: Collection[str] | None, how: Policy) -> Paths:
    assert resolution.url is not None
    from registry.sources.listings import of_hub

    return of_hub(resolution.url.removeprefix("hub:"), resolution.revision, roles, how)


def _from_web(resolution: Source, roles: Collection[str] | None, how: Policy) -> Paths:
    assert resolution.url is not None
    from registry.download.fetch import fetch
    from registry.sources.listings import names_a_file, of_folder

    if names_a_file(resolution.url):
        return {unquote(urlsplit(resolution.url).path).rpartition("/")[2]: fetch(resolution.url, how)}
    return of_folder(resolution.url, roles, how)


def _from_archive(resolution: Source, _roles: Collection[str] | None, how: Policy) -> Paths:
    from registry.archives.unpacked import of_local_archive, of_web_archive

    if resolution.path is not None:
        return of_local_archive(resolution.path, how)
    assert resolution.url is not None
    return of_web_archive(resolution.url, how)


def _from_card(resolution: Source, roles: Collection[str] | None, how: Policy) -> Paths:
    card = resolution.card
    assert card is not None
    if resolution.revision is not None:
        card = _at_revision(card, resolution.revision)
    found: dict[str, Path] = {}
    for files in _by_role(card, roles):
        archived = _of_archives(files, card, _offline_now(how)) if _lacking(files, how) and not how.update else {}
        try:
            found |= archived or _of_role(files, resolution, card, how)
        except FetchError:
            found |= (archived := _of_archives(files, card, how))
            if not archived:
                raise
    if not card.files:
        return _of_archive_alone(resolution, card, how)
    return found


def _of_archives(files: list[FileSpec], card: Card, how: Policy) -> Paths:
    """The files of one role in the first archive of a card that has them; none when no archive can be had."""
    from registry.archives.unpacked import in_role, of_web_archive

    for url in card.archives:
        with suppress(FetchError, CacheCorruptError):
            if found := in_role(of_web_archive(url, how), files[0].role, [file.filename for file in files]):
                return found
    return {}


def _of_archive_alone(resolution: Source, card: Card, how: Policy) -> Paths:
    """All files of a card that describes none, but an archive."""
    from registry.archives.unpacked import of_web_archive

    failures: list[FetchError] = []
    for url in card.archives:
        try:
            return of_web_archive(url, how)
        except FetchError as problem:
            failures.append(problem)
    raise _missing(resolution, card, how, failures)


def _offline_now(how: Policy) -> Policy:
    return evolve(how, offline=True)


def _of_role(files: list[FileSpec], resolution: Source, card: Card, how: Policy) -> Paths:
    """The first of the files of one role that can be had; what is on this disk goes before what is not."""
    from registry.download.fetch import fetch

    places = [(file, url) for file in files for url in file.urls]
    if not how.update:
        places.sort(key=lambda place: _lacking([evolve(place[0], urls=(place[1],))], how))
    failures: list[FetchError] = []
    for file, url in places:
        path = _on_disk(url, file)
        if path is None and url.startswith(WEB):
            try:
                path = fetch(url, how, sha256=file.sha256, size=file.size)
            except FetchError as problem:
                failures.append(problem)
        if path is not None:
            return {file.filename: path}
    raise _missing(resolution, card, how, failures)


def _at_revision(card: Card, revision: str) -> Card:
    """The card of the same model at a revision: only the hub keeps those, and no digest is known of them."""
    from registry.download.hub import at_revision

    files = [
        evolve(file, urls=[there for url in file.urls if (there := at_revision(url, revision))], sha256=None, size=None)
        for file in card.files
    ]
    files = [file for file in files if file.urls]
    if {file.role for file in files} != {file.role for file in card.files} or not files:
        raise UnknownOptionError(
            f"The files of {card.name!r} are not all on the hub, and only the hub has revisions.",
            hint="Leave out revision=.",
        )
    return evolve(card, files=files, archives=())


_COLLECTORS: Mapping[str, Callable[[Source, Collection[str] | None, Policy], Paths]] = {
    "card": _from_card,
    "directory": _from_disk,
    "file": _from_disk,
    "checkpoint": _from_prefix,
    "package": _from_package,
    "url": _from_web,
    "archive": _from_archive,
    "hub": _from_hub,
}


# --- When files are missing -------------------------------------------------------------------------------------------


def _missing(resolution: Source, card: Card, how: Policy, failures: list[FetchError]) -> FetchError:
    """The error for files of a card that cannot be had: which, where they were looked for, and how to get them."""
    lacking = [files for files in _by_role(card) if _lacking(files, how)]
    names = [" or ".join(file.filename for file in files) for files in lacking] or ["the whole archive"]
    urls = [*(url for files in lacking for file in files for url in file.urls), *card.archives]
    web = [url for url in urls if url.startswith(WEB)]
    error = _kind(failures, offline=bool(web) and how.is_offline)(
        f"{resolution} is known, but not all of its files are on this disk: "
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing.",
        hint="\n".join(
            [
                f"Looked for: {', '.join(urls) or 'nothing, since its card gives no addresses'}.",
                *([] if how.is_offline else [problem.message for problem in failures]),
                *([f"The cache is {how.cache.directory}."] if web else []),
                *filter(None, [install_command(urls)]),
                *([_offline(card)] if web and how.is_offline else []),
            ]
        ),
    )
    error.__cause__ = failures[0] if failures else None
    return error


def _kind(failures: Collection[FetchError], *, offline: bool) -> type[FetchError]:
    """The class that says most of what went wrong."""
    if offline:
        return NotCachedError
    kinds: tuple[type[FetchError], ...] = (IntegrityError, NotCachedError)
    found = [kind for kind in kinds if any(isinstance(problem, kind) for problem in failures)]
    refused = all(isinstance(problem, HTTPStatusError) for problem in failures)
    return found[0] if found else MissingFileError if refused else FetchError


def _offline(card: Card) -> str:
    return (
        f"Offline nothing is fetched. Where there is a network, `registry pull {card.name}` fills the cache, which may "
        f"then be copied here."
    )
