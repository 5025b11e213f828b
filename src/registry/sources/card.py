"""A model that a plugin declares: its card lists files, and for each the URLs at which it is published."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import unquote, urlsplit

from attrs import evolve, frozen

from registry.errors import CacheCorruptError, CacheError, FetchError, IntegrityError, MissingFileError
from registry.files.urls import WEB, split_digest
from registry.records import Card, FileSpec, Paths
from registry.sources.source import Roles, Source, checked_revision

if TYPE_CHECKING:
    from registry.cache.cache import Cache
    from registry.cache.directories import PathArgument
    from registry.download.policy import Policy
    from registry.sources.origins import Origin

ARCHIVED = ("config", "weights")
"""Roles of the files which an archive certainly holds."""


@frozen(kw_only=True)
class CardSource(Source):
    """A card, at a revision."""

    card: Card
    revision: str | None = None

    kind: ClassVar[str] = "card"
    noun: ClassVar[str] = "model"

    def at(self, revision: str) -> Self:
        """The model at a revision, with the files that the hub has of it."""
        return evolve(self, revision=checked_revision(self, revision))

    def files(self, roles: Roles, policy: "Policy") -> Paths:
        """The files in these roles: of several with one role, and of the URLs of each, the first that is available.

        Files on this disk go before others.  A role of which no file is available is looked for in the archives.

        Raises:
            FetchError: A file is not available; the message lists where it was looked for.
        """
        card = self.card
        if self.revision is not None:
            from registry.sources.card_variants import at_revision  # rarely needed

            card = at_revision(card, self.revision)
        if not card.files:
            return self._whole_archive(card, policy)
        found: dict[str, Path] = {}
        for files in by_role(card, roles):
            here = policy.update or any_is_here(files, policy)
            archived = {} if here else in_archives(files, card, evolve(policy, offline=True))
            try:
                found |= archived or self._first_available(files, card, policy)
            except FetchError:
                found |= (archived := in_archives(files, card, policy))
                if not archived:
                    raise
        return found

    def find(self, name: str, policy: "Policy") -> Path | None:
        """A file that the card lists, by its name."""
        listed = [file for file in self.card.files if file.filename == name]
        return self._first_available(listed, self.card, policy)[name] if listed else None

    def _first_available(self, files: list[FileSpec], card: Card, policy: "Policy") -> Paths:
        """The first of the files of one role that is available."""
        places = [(file, url) for file in files for url in file.urls]
        if not policy.update:
            places.sort(key=lambda place: not any_is_here([evolve(place[0], urls=(place[1],))], policy))
        failures: list[FetchError] = []
        for file, url in places:
            path = on_this_disk(url, file)
            if path is None and url.startswith(WEB):
                from registry.download.fetch import fetch  # and with it the cache

                try:
                    path = fetch(url, policy, sha256=file.sha256, size=file.size)
                except FetchError as problem:
                    failures.append(problem)
            if path is not None:
                return {file.filename: path}
        raise self._missing(card, policy, failures)

    def _whole_archive(self, card: Card, policy: "Policy") -> Paths:
        """All files of the first archive that is available, for a card that lists no files."""
        from registry.archives.unpacked import of_web_archive  # and with it the cache

        failures: list[FetchError] = []
        for url in card.archives:
            try:
                return of_web_archive(url, policy)
            except FetchError as problem:
                failures.append(problem)
        raise self._missing(card, policy, failures)

    def _missing(self, card: Card, policy: "Policy", failures: list[FetchError]) -> FetchError:
        from registry.sources.card_errors import files_missing  # rarely needed

        missing = [files for files in by_role(card) if not any_is_here(files, policy)]
        return files_missing(str(self), card, missing, policy, failures)

    def urls(self) -> Iterator[str]:
        """The URLs of its files and archives on the web, as the cache records them."""
        from registry.download import hub

        listed = (url for file in self.card.files for url in file.urls)
        yield from (hub.recorded(url) for url in (*listed, *self.card.archives) if url.startswith(WEB))

    def url_of(self, name: str, path: Path) -> str:
        """The ``pkg:`` or ``file:`` URL of a file, else that of its path."""
        listed = (url for file in self.card.files if file.filename == name for url in file.urls)
        return next((url for url in listed if not url.startswith(WEB)), path.resolve().as_uri())

    @property
    def lock_key(self) -> str:
        """The name of the card, with ``@`` and the revision."""
        return self.card.name if self.revision is None else f"{self.card.name}@{self.revision}"

    def locked(self, files: "Mapping[str, Origin]", lock: Path, cache: "Cache") -> Self:  # noqa: ARG002
        """The model with one URL, size and digest for each file."""
        from registry.sources.card_variants import with_locked  # rarely needed

        return evolve(self, card=with_locked(self.card, files, lock))


def is_local(card: Card, cache_dir: "PathArgument | None" = None) -> bool:
    """Whether all files of a card are available without a network."""
    from registry.download.policy import Policy

    policy = Policy(cache_dir=cache_dir, offline=True)
    missing = [files[0].role for files in by_role(card) if not any_is_here(files, policy)]
    archives = map(split_digest, card.archives)
    if any(_is_held(url, policy, sha256=digest) for url, digest in archives):
        return not set(missing) - set(ARCHIVED)
    return bool(card.files) and not missing


def by_role(card: Card, roles: Roles = None) -> list[list[FileSpec]]:
    """The files of a card in these roles, those of one role together: they are alternatives."""
    grouped: dict[str, list[FileSpec]] = {}
    for file in card.files:
        if roles is None or file.role in roles:
            grouped.setdefault(file.role, []).append(file)
    return list(grouped.values())


# --- Where files are --------------------------------------------------------------------------------------------------


def any_is_here(files: Iterable[FileSpec], policy: "Policy") -> bool:
    """Whether one of the files is on this disk, as far as it shows without reading them."""
    try:
        return any(
            on_this_disk(url, file) or _is_held(url, policy, sha256=file.sha256, size=file.size)
            for file in files
            for url in file.urls
        )
    except (FetchError, CacheError):
        return False


def on_this_disk(url: str, file: FileSpec) -> Path | None:
    """The file at a ``file:`` or ``pkg:`` URL; None where there is none, and for other URLs.

    Raises:
        IntegrityError: Its size is not the promised one.
    """
    scheme = url.partition(":")[0]
    path: Path | None = None
    if scheme == "file":
        path = Path(unquote(urlsplit(url).path))
    elif scheme == "pkg":
        from registry.sources.packages import package_path

        with suppress(MissingFileError):
            path = package_path(url)
    if path is None or not path.is_file():
        return None
    size = path.stat().st_size
    if file.size not in (None, size):
        raise IntegrityError(
            f"{path} has {size:,} bytes, where {file.size:,} are promised.",
            hint="It was cut short or changed: install it again.",
        )
    return path


def in_archives(files: list[FileSpec], card: Card, policy: "Policy") -> Paths:
    """The files of one role in the first archive of a card that has them; none when no archive is available."""
    from registry.archives.unpacked import in_role, of_web_archive  # and with it the cache

    for url in card.archives:
        with suppress(FetchError, CacheCorruptError):
            if found := in_role(of_web_archive(url, policy), files[0].role, [file.filename for file in files]):
                return found
    return {}


def _is_held(url: str, policy: "Policy", *, sha256: str | None = None, size: int | None = None) -> bool:
    if not url.startswith(WEB):
        return False
    from registry.download.fetch import is_held  # and with it the cache

    return is_held(url, policy, sha256=sha256, size=size)
