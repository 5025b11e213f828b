"""A model that a plugin declares: its card lists files, and for each the URLs at which it is published."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import unquote, urlsplit

from attrs import evolve, frozen

from registry.cache.directories import is_anything_cached
from registry.errors import CacheCorruptError, CacheError, FetchError, IntegrityError, MissingFileError
from registry.files.urls import WEB, split_digest
from registry.records import Card, FileSpec, Paths
from registry.sources.source import Roles, Source, checked_revision

if TYPE_CHECKING:
    from registry.cache.cache import Cache
    from registry.cache.directories import PathArgument
    from registry.download.policy import Policy
    from registry.download.retries import Mirrors
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
        grouped = by_role(card, roles)
        found: dict[int, Paths] = {}
        if not policy.update:
            here = evolve(policy, offline=True)
            found = {
                number: _paths(_held(files, here)) or in_archives(files, card, here)
                for number, files in enumerate(grouped)
            }
        rest = [number for number in range(len(grouped)) if not found.get(number)]
        if rest:
            found |= dict(zip(rest, self._fetched([grouped[number] for number in rest], card, policy), strict=True))
        return {name: path for number in range(len(grouped)) for name, path in found[number].items()}

    def promised(self, policy: "Policy") -> Mapping[str, str]:
        """The sha256 that the card promises of each file that is on this disk, by its name."""
        if self.revision is not None:
            return {}  # the card's are those of its own revision
        here = evolve(policy, offline=True)
        held = filter(None, (_held(files, here) for files in by_role(self.card)))
        return {file.filename: file.sha256 for file, _ in held if file.sha256 is not None}

    def find(self, name: str, policy: "Policy") -> Path | None:
        """A file that the card lists, by its name."""
        listed = [file for file in self.card.files if file.filename == name]
        if not listed:
            return None
        held = {} if policy.update else _paths(_held(listed, evolve(policy, offline=True)))
        return (held or self._fetched([listed], self.card, policy)[0]).get(name)

    def _fetched(self, grouped: list[list[FileSpec]], card: Card, policy: "Policy") -> list[Paths]:
        """For each role, the first of its files that is available; several are fetched at once."""
        from registry.download.retries import Mirrors
        from registry.download.together import together

        mirrors = Mirrors(policy)

        def available(files: list[FileSpec]) -> Paths:
            failures: list[FetchError] = []
            if found := _first_available(files, mirrors, failures) or in_archives(files, card, policy):
                return found
            raise self._missing(card, policy, failures)

        return together([partial(available, files) for files in grouped])

    def _whole_archive(self, card: Card, policy: "Policy") -> Paths:
        """All files of the first archive that is available, for a card that lists no files."""
        from registry.archives.unpacked import of_web_archive  # and with it the cache
        from registry.download.retries import Mirrors

        failures: list[FetchError] = []
        found = Mirrors(policy).first(
            card.archives, lambda url, patient: of_web_archive(url, policy, patient=patient), failures
        )
        if found is None:
            raise self._missing(card, policy, failures)
        return found

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
    archives = map(split_digest, card.archives)
    in_archive = any(_is_held(url, policy, sha256=digest) for url, digest in archives)
    needed = [files for files in by_role(card) if not (in_archive and files[0].role in ARCHIVED)]
    return (bool(card.files) or in_archive) and all(any_is_here(files, policy) for files in needed)


def by_role(card: Card, roles: Roles = None) -> list[list[FileSpec]]:
    """The files of a card in these roles, those of one role together: they are alternatives."""
    grouped: dict[str, list[FileSpec]] = {}
    for file in card.files:
        if roles is None or file.role in roles:
            grouped.setdefault(file.role, []).append(file)
    return list(grouped.values())


def _held(files: list[FileSpec], here: "Policy") -> tuple[FileSpec, Path] | None:
    """The first of the files of one role that is on this disk, and its path; None where it is damaged."""
    with suppress(FetchError, CacheError):
        for file, url in _places(files):
            path = on_this_disk(url, file)
            if path is None and _is_held(url, here, sha256=file.sha256, size=file.size):
                from registry.download.fetch import fetch  # and with it the cache

                path = fetch(url, here, sha256=file.sha256, size=file.size)
            if path is not None:
                return file, path
    return None


def _paths(held: tuple[FileSpec, Path] | None) -> Paths:
    return {} if held is None else {held[0].filename: held[1]}


def _places(files: Iterable[FileSpec]) -> Iterator[tuple[FileSpec, str]]:
    """Each file with each of its URLs."""
    return ((file, url) for file in files for url in file.urls)


def _first_available(files: list[FileSpec], mirrors: "Mirrors", failures: list[FetchError]) -> Paths:
    """The first of the files of one role that is available; none where none is, and then ``failures`` says why."""
    from registry.download.fetch import fetch  # and with it the cache

    of_url: dict[str, FileSpec] = {}
    for file, url in _places(files):
        if (path := on_this_disk(url, file)) is not None:
            return {file.filename: path}
        if url.startswith(WEB):
            of_url.setdefault(url, file)

    def get(url: str, patient: bool) -> Paths:
        file = of_url[url]
        return {file.filename: fetch(url, mirrors.policy, sha256=file.sha256, size=file.size, patient=patient)}

    return mirrors.first(of_url, get, failures) or {}


# --- Where files are --------------------------------------------------------------------------------------------------


def any_is_here(files: Iterable[FileSpec], policy: "Policy") -> bool:
    """Whether one of the files is on this disk, as far as it shows without reading them."""
    try:
        return any(
            on_this_disk(url, file) or _is_held(url, policy, sha256=file.sha256, size=file.size)
            for file, url in _places(files)
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
            f"{path} has {size:,} bytes, not the expected {file.size:,}.",
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
    if not url.startswith(WEB) or not is_anything_cached(policy.cache_dir):
        return False
    from registry.download.fetch import is_held  # and with it the cache

    return is_held(url, policy, sha256=sha256, size=size)
