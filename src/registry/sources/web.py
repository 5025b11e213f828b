"""A file, a directory or an archive on the web.

A server other than the hub is asked for the names that files of models have; those it does not have are recorded.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from attrs import field, frozen

from registry.download import hub
from registry.download.policy import Policy
from registry.errors import (
    HTTPStatusError,
    MissingFileError,
    NotCachedError,
    UnexpectedContentError,
    warn,
)
from registry.files.filenames import FORMATS, is_weights
from registry.files.urls import name_in, redacted, shown
from registry.records import Paths
from registry.sources.source import Roles, Source

SINGLE_FILE = re.compile(rf".+\.({'|'.join(FORMATS)}|json|txt|model|npy|pt|pth|zip|tar|gz|pkl)", re.IGNORECASE)
"""Last part of a URL that names one file."""
ABSENT = (404, 410)
"""HTTP statuses of a file that a server does not have."""
REFUSED = 403
"""HTTP status of a file that may not be read.  S3 gives it for one that it does not have, too, unless the bucket may be
listed: so it counts as absent this time, with a warning, and is requested again the next time."""

PAGE = 200
"""HTTP status of a page in place of a file, which is taken like ``REFUSED``."""
_SAID = {REFUSED: "403 Forbidden", PAGE: "with a page"}


@frozen(kw_only=True)
class WebSource(Source):
    """A file or a directory at an ``https:`` or ``http:`` URL."""

    url: str = field(repr=shown)

    kind: ClassVar[str] = "url"
    noun: ClassVar[str] = "URL"

    def files(self, roles: Roles, policy: Policy) -> Paths:
        """The file, or the files of the directory in these roles.

        Raises:
            MissingFileError: The directory holds no configuration.
            FetchError: Whatever else ``fetch`` raises.
        """
        from registry.download.fetch import fetch  # and with it the cache

        if SINGLE_FILE.fullmatch(urlsplit(self.url).path.rpartition("/")[2]):
            return {name_in(self.url): fetch(self.url, policy)}
        return directory_files(self.url, roles, policy)

    def urls(self) -> Iterator[str]:
        """Its URL, as the cache records it."""
        yield hub.recorded(self.url)

    @property
    def lock_key(self) -> str:
        """Its URL, without secrets."""
        return redacted(self.url)


class WebArchiveSource(WebSource):
    """An archive (tar.gz, tgz or zip) on the web; its files are unpacked into the cache, and given whatever the roles.

    The URL may end with ``#sha256=`` and a digest, with which the archive is then compared.
    """

    __slots__ = ()  # it adds no field, and so needs no decorator

    kind: ClassVar[str] = "archive"
    noun: ClassVar[str] = "archive"

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """All files of the archive."""
        from registry.archives.unpacked import of_web_archive  # and with it the cache

        return of_web_archive(self.url, policy)


def directory_files(url: str, roles: Roles, policy: Policy) -> Paths:
    """The files of a directory on the web in these roles.

    Raises:
        MissingFileError: It holds no configuration.
        FetchError: Whatever else ``fetch`` raises.
    """
    from registry.discovery.filenames import config_names, weight_names
    from registry.download.fetch import is_held
    from registry.sources.choosing import choose

    directory = _Directory(url, policy)
    found = choose(directory.find, roles, policy, other_weights=weight_names())
    names = config_names()
    if not any(is_held(_inside(url, name), policy) for name in names):
        raise directory.pages[0] if directory.pages else _nothing_there(url, names, directory.refused)
    for name, status in directory.refused.items():
        policy.cache.mark_absent(_inside(url, name), status)
    _name_refused(url, found, roles, {name: status for name, status in directory.refused.items() if status in _SAID})
    return found


@frozen
class _Directory:
    """A directory on the web, and what its server refused."""

    url: str = field(repr=shown)
    policy: Policy
    refused: dict[str, int] = field(factory=dict)
    """Names of files, each with the HTTP status."""
    pages: list[UnexpectedContentError] = field(factory=list)
    """Errors for pages in place of files."""

    def find(self, name: str, policy: Policy) -> Path | None:
        """The file of this name; None where the server has none, or refuses it."""
        from registry.download.fetch import fetch  # and with it the cache

        inner = _inside(self.url, name)
        known = None if policy.update else policy.cache.absence(inner)
        if known is not None and (self.policy.is_offline or (known.is_final and not policy.requests_absent)):
            return None
        try:
            return fetch(inner, policy, patient=known is None)
        except HTTPStatusError as problem:
            if problem.status not in (*ABSENT, REFUSED):
                raise
            self.refused[name] = problem.status
        except NotCachedError:
            if known is None or policy.is_offline:
                raise
        except UnexpectedContentError as problem:  # some servers send their front page for all that they do not have
            self.pages.append(problem)
            self.refused[name] = PAGE
        return None


def _nothing_there(url: str, names: Collection[str], refused: Mapping[str, int]) -> MissingFileError:
    """The error for a directory without a configuration."""
    locked = [name for name in names if refused.get(name) == REFUSED]
    if locked:
        return MissingFileError(
            f"{redacted(url)} holds no configuration that may be read: its server answers 403 Forbidden for "
            f"{', '.join(locked)}.",
            hint="S3 answers so for files that do not exist, too, unless the bucket may be listed. "
            "For a private bucket, presigned URLs of single files or of an archive can be used.",
        )
    return MissingFileError(
        f"{redacted(url)} holds no configuration: its server has none of {', '.join(names)}.",
        hint="A URL that ends in the name of a file, such as model.safetensors, is read as that file alone.",
    )


def _name_refused(url: str, found: Paths, roles: Roles, refused: Mapping[str, int]) -> None:
    """Warn about files that may not be read; raise MissingFileError when the weights are among them."""
    if not refused:
        return
    groups = {status: [name for name in refused if refused[name] == status] for status in refused.values()}
    answers = " and ".join(f"{_SAID[status]} for {', '.join(names)}" for status, names in groups.items())
    said = f"{redacted(url)} answers {answers}"
    if roles is not None and "weights" in roles and not any(map(is_weights, found)) and any(map(is_weights, refused)):
        raise MissingFileError(f"{said}, and has no other weights.", hint="They are requested again the next time.")
    warn(
        f"{said}: if a file of this name exists, its owner must allow reading it. It is requested again the next time."
    )


def _inside(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
