"""A repository of the hub.

The hub lists in one response which files a repository has, and which commit its branch is; only those are requested.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from attrs import evolve, frozen

from registry.download import hub
from registry.download.advice import NETWORK, elsewhere, forbidden, wanted
from registry.download.policy import Policy
from registry.errors import CacheError, FetchError, HTTPStatusError, NotCachedError
from registry.files.filenames import OTHER_WEIGHTS
from registry.files.urls import redacted
from registry.records import HUB, Paths
from registry.sources.source import Roles, Source, checked_revision

if TYPE_CHECKING:
    from registry.cache.cache import Cache
    from registry.sources.origins import Origin

LARGEST_LISTING = 64 * 2**20
LISTING_VALUES = 500_000
"""In a listing, which has two for each file; the hub takes 100,000 files in a repository."""
NO_LISTING = (404, 405, 501)
"""HTTP statuses of a server that has no such repository, or does not list any."""


@frozen(kw_only=True)
class HubSource(Source):
    """A repository of the hub, at a revision."""

    repository: str
    """``organization/name``."""
    revision: str | None = None

    kind: ClassVar[str] = "hub"
    noun: ClassVar[str] = "hub repository"

    @property
    def url(self) -> str:
        """``hub:organization/name``."""
        return f"hub:{self.repository}"

    def at(self, revision: str) -> Self:
        """The repository at a revision."""
        return evolve(self, revision=checked_revision(self, revision))

    def files(self, roles: Roles, policy: Policy) -> Paths:
        """The files in these roles, at the commit that the revision was when it was first asked for.

        Raises:
            HTTPStatusError: The hub refuses.
            FetchError: Whatever else ``fetch`` raises.
        """
        from registry.discovery.filenames import weight_names
        from registry.download.fetch import fetch  # and with it the cache
        from registry.sources.choosing import choose

        try:
            listing = list_repository(self.repository, self.revision or hub.DEFAULT_REVISION, roles, policy)
        except NotCachedError as problem:
            raise self._unknown(problem, policy) from problem

        def find(name: str, policy: Policy) -> Path | None:
            if name not in listing.names:
                return None
            return fetch(hub.HubFile(self.repository, listing.commit, name).url, policy)

        others = [*filter(re.compile(OTHER_WEIGHTS).fullmatch, sorted(listing.names)), *weight_names()]
        try:
            return choose(find, roles, policy, other_weights=others)
        except NotCachedError as problem:
            raise self._missing(listing, roles, policy, problem) from problem

    def _unknown(self, problem: NotCachedError, policy: Policy) -> NotCachedError:
        """The error where the list of files is not here."""
        named = f"{self.noun} {self.repository!r}"
        message, advice = problem.message, f"{NETWORK} {elsewhere(self.repository)}"
        if policy.is_offline:
            message, advice = (
                f"{named} is not in the cache, and {forbidden()} forbids downloads.",
                elsewhere(self.repository),
            )
        error = NotCachedError(message, hint=wanted(f"the files of {named}", advice))
        error.url, error.reason, error.details = problem.url, problem.reason, problem.details
        return error

    def _missing(self, listing: "Listing", roles: Roles, policy: Policy, problem: NotCachedError) -> NotCachedError:
        """The error that names all files of the roles that are not here."""
        from registry.download import foreign
        from registry.download.fetch import is_held
        from registry.sources.choosing import candidates

        files = {name: hub.HubFile(self.repository, listing.commit, name).url for name in candidates(roles)}
        missing = [name for name, url in files.items() if name in listing.names and not is_held(url, policy)]
        at = "" if self.revision is None else f" --revision {self.revision}"
        copy = foreign.copied_snapshot(self.repository, self.revision or hub.DEFAULT_REVISION)
        named = f"{self.noun} {self.repository!r}"
        what = f"{', '.join(missing) or 'some files'} of {named}"
        message, advice = problem.message, elsewhere(f"{self.repository}{at}")
        if policy.is_offline:
            message = f"not all files of {named} are in the cache, and {forbidden()} forbids downloads."
        elif problem.url is not None:
            advice = f"{NETWORK} {advice}"
        if copy is not None:
            advice = (
                f"{copy} has it, but its files are copies, no links to blobs with their digests, so that they cannot "
                f"be verified. If you trust them, load that directory by its path."
            )
        error = NotCachedError(message, hint=wanted(what, advice))
        error.url, error.reason, error.details = problem.url, problem.reason, problem.details
        return error

    def names(self, policy: Policy) -> frozenset[str]:
        """The names in its listing."""
        return list_repository(self.repository, self.revision or hub.DEFAULT_REVISION, None, policy).names

    def find(self, name: str, policy: Policy) -> Path | None:
        """A file, fetched by its name; None where it is not in the listing."""
        from registry.download.fetch import fetch  # and with it the cache

        listing = list_repository(self.repository, self.revision or hub.DEFAULT_REVISION, None, policy)
        if name not in listing.names:
            return None
        return fetch(hub.HubFile(self.repository, listing.commit, name).url, policy)

    def inside(self, subdirectory: str) -> str:
        """The URL of a subdirectory."""
        return hub.HubFile(self.repository, self.revision or hub.DEFAULT_REVISION, subdirectory).url

    def urls(self) -> Iterator[str]:
        """The directories of URLs of its files and listings."""
        yield from hub.repository_urls(self.repository)

    @property
    def lock_key(self) -> str:
        """Its URL, with ``@`` and the revision."""
        return self.url if self.revision is None else f"{self.url}@{self.revision}"

    def locked(self, files: "Mapping[str, Origin]", lock: Path, cache: "Cache") -> Self:  # noqa: ARG002
        """The repository at the commit that is locked, whichever the cache knows."""
        commits = {file.revision for file in files.values()}
        commit = commits.pop() if len(commits) == 1 else None  # of several, the comparison afterwards tells
        if commit is None or commit == _held_commit(self.repository, self.revision or hub.DEFAULT_REVISION, cache):
            return self
        return evolve(self, revision=commit)


@frozen(kw_only=True)
class Listing:
    """A commit of a repository, and the files that are known to be in it."""

    commit: str
    names: frozenset[str]
    tags: tuple[str, ...] = ()
    """What the hub says of the repository: ``license:mit``, ``text-generation``."""


def _held_commit(repository: str, revision: str, cache: "Cache") -> str | None:
    """The commit whose listing is in the cache for a revision; None where there is none."""
    with suppress(FetchError, CacheError):
        path = cache.find(hub.listing_url(repository, revision))
        return None if path is None else _read_listing(path, repository).commit
    return None


def list_repository(repository: str, revision: str, roles: Roles, policy: Policy) -> Listing:
    """The files of a repository: as first listed, else as in the cache of another program, else as the hub lists them.

    Which commit the revision is, is recorded when it is first used, and counts from then on.

    Raises:
        FetchError: What ``fetch`` raises, and for an answer of another form than the hub's.
    """
    from registry.download import foreign
    from registry.download.fetch import is_held
    from registry.sources.choosing import suffices

    url = hub.listing_url(repository, revision)
    if not policy.update and is_held(url, policy):
        return _fetched_listing(url, repository, revision, policy)
    cache, directory = policy.cache, hub.revision_url(repository, revision)
    if not policy.update:
        pinned = cache.commit(directory) or revision
        snapshot = foreign.snapshot(repository, pinned)
        commit = pinned if snapshot is None else snapshot.commit
        if snapshot is not None and (policy.is_offline or suffices(snapshot.names, roles)):
            cache.pin(directory, commit)
            return Listing(commit=commit, names=snapshot.names)
        url = hub.listing_url(repository, commit)
    listing = _fetched_listing(url, repository, revision, policy)
    cache.pin(directory, listing.commit)
    return listing


def _fetched_listing(url: str, repository: str, revision: str, policy: Policy) -> Listing:
    from registry.download.fetch import fetch  # and with it the cache

    try:
        return _read_listing(fetch(url, policy, is_listing=True), repository)
    except HTTPStatusError as problem:
        if problem.status in NO_LISTING and hub.endpoint() != HUB:
            problem.hint = _of_mirror(repository, revision)
        raise


def _of_mirror(repository: str, revision: str) -> str:
    server = redacted(hub.endpoint())
    directory = f"{HUB}/{repository}/resolve/{revision}"
    return (
        f"The variable HF_ENDPOINT makes {server} stand for the hub, which does not list the files of {repository!r} "
        f"at {revision!r}. If name and revision are right, the server lacks this part of the hub's API; then load "
        f"by the URL of the directory: {directory}"
    )


def _read_listing(path: Path, repository: str) -> Listing:
    from registry.files.strict_json import read_json_object  # finding a card needs no JSON

    keys = read_json_object(path, limit=LARGEST_LISTING, values=LISTING_VALUES, error=FetchError)
    try:
        names = frozenset(str(file["rfilename"]) for file in keys["siblings"])
        commit = str(keys["sha"])
    except (KeyError, TypeError) as problem:
        raise FetchError(
            f"The hub's answer for {repository!r} is not of the form of its API: no 'sha', or no 'siblings'.",
            hint=f"{redacted(hub.endpoint())} was asked; the variable HF_ENDPOINT names another server.",
        ) from problem
    if not re.fullmatch(r"(?!\.+$)[\w.-]+", commit):
        raise FetchError(f"The hub names {commit!r:.80} as the commit of {repository!r}, which cannot be one.")
    tags = keys.get("tags")
    return Listing(commit=commit, names=names, tags=tuple(map(str, tags if isinstance(tags, list) else ())))
