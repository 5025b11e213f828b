"""The hub: the form of its URLs, the server that stands for it, and the token that is sent to it.

A URL of the hub is kept under one spelling, ``https://huggingface.co/org/name/resolve/revision/file``, whatever server
``HF_ENDPOINT`` names: a mirror serves the same files, and the cache need not tell them apart.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from registry.errors import FetchError, UnsafeURLError
from registry.files.urls import normalized, origin, redacted
from registry.records import HUB

DEFAULT_REVISION = "main"

_SHORT = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?/(?P<file>[^?#]+)")
_FILE = re.compile(
    rf"{re.escape(HUB)}/(?P<repository>(?:[\w.-]+/)?[\w.-]+)/resolve/(?P<revision>refs/pr/\d+|[^/]+)/(?P<file>[^?]+)"
    r"(?:\?.*)?"
)


class HubFile(NamedTuple):
    """One file of a repository at a revision; its parts are spelled as in a URL."""

    repository: str
    revision: str
    name: str

    @property
    def url(self) -> str:
        """The URL of the file, in its one spelling."""
        return normalized(f"{HUB}/{self.repository}/resolve/{_quoted(self.revision)}/{self.name}")

    @property
    def commit(self) -> str | None:
        """The revision, where it is a commit."""
        return self.revision if re.fullmatch(r"[0-9a-f]{40}", self.revision) else None


def hub_file(url: str) -> HubFile | None:
    """The file of the hub that a URL in its one spelling names; None for any other URL."""
    parts = _FILE.fullmatch(url)
    return None if parts is None else HubFile(*parts.groups())


def canonical(url: str) -> str:
    """The one spelling of a URL, also of ``hub:org/name@revision/file``.

    Raises:
        UnsafeURLError: It is no URL that can be fetched.
    """
    if not url.startswith("hub:"):
        return normalized(url)
    short = _SHORT.fullmatch(url)
    if short is None:
        raise UnsafeURLError(
            f"{url!r} is not of the form hub:organization/name/file or hub:organization/name@revision/file."
        )
    return HubFile(short["repository"], short["revision"] or DEFAULT_REVISION, short["file"]).url


def recorded(url: str) -> str:
    """A URL as the cache records it: in its one spelling, and without secrets."""
    try:
        return redacted(canonical(url))
    except FetchError:
        return url


def listing_url(repository: str, revision: str) -> str:
    """The URL that lists the files of a repository, and names the commit that a revision is."""
    return normalized(f"{HUB}/api/models/{repository}/revision/{_quoted(revision)}")


def repository_urls(repository: str) -> tuple[str, str]:
    """The URLs below which the files of a repository, and its listings, are."""
    return f"{HUB}/{repository}/resolve", f"{HUB}/api/models/{repository}/revision"


def at_revision(url: str, revision: str) -> str | None:
    """The URL of the same file of the hub at another revision; None for a URL that has no revisions."""
    file = hub_file(canonical(url)) if url.startswith(("https:", "hub:")) else None
    return None if file is None else file._replace(revision=revision).url


def endpoint() -> str:
    """The server that stands for the hub: ``HF_ENDPOINT``, or the hub itself."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def through_endpoint(url: str) -> str:
    """The URL that is asked instead of a URL of the hub; other URLs are returned as they are."""
    return endpoint() + url.removeprefix(HUB) if url.startswith(f"{HUB}/") else url


def credentials(url: str) -> Mapping[str, str]:
    """The header that authenticates a request: ``HF_TOKEN``, for the server of the hub and for no other."""
    token = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token and origin(url) == origin(endpoint()) else {}


def _quoted(revision: str) -> str:
    return revision.replace("/", "%2F")
