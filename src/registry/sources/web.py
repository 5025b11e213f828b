"""A file, a directory or an archive on the web.

A server other than the hub is asked for the names that files of models have; those it does not have are recorded.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from attrs import field, frozen

from registry.download import hub
from registry.download.policy import Policy
from registry.errors import HTTPStatusError, MissingFileError
from registry.files.urls import name_in, redacted, shown
from registry.records import Paths
from registry.sources.source import Roles, Source

SINGLE_FILE = re.compile(r".+\.(bin|safetensors|json|txt|model|npy|pt|pth|ckpt|zip|tar|gz|pkl)", re.IGNORECASE)
"""Last part of a URL that names one file."""
ABSENT = (403, 404, 410)
"""HTTP statuses of a file that a server does not have; S3 answers 403."""


@frozen(kw_only=True)
class WebSource(Source):
    """A file or a directory at an ``https:`` or ``http:`` URL."""

    url: str = field(repr=shown)

    kind: ClassVar[str] = "url"
    noun: ClassVar[str] = "address"

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
    from registry.discovery.filenames import config_names
    from registry.download.fetch import fetch, is_held
    from registry.sources.choosing import choose

    absent: list[str] = []
    cache = policy.cache

    def find(name: str) -> Path | None:
        inner = _inside(url, name)
        if cache.is_absent(inner) and not policy.update:
            return None
        try:
            return fetch(inner, policy)
        except HTTPStatusError as problem:
            if problem.status not in ABSENT:
                raise
            absent.append(inner)
            return None

    found = choose(find, roles)
    names = config_names()
    if not any(is_held(_inside(url, name), policy) for name in names):
        raise MissingFileError(
            f"{redacted(url)} holds no configuration: its server has none of {', '.join(names)}.",
            hint="A URL that ends in the name of a file, such as model.safetensors, is read as that file alone.",
        )
    for inner in absent:
        cache.mark_absent(inner)
    return found


def _inside(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
