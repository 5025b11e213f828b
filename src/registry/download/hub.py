"""The hub: how its addresses are written, which server stands for it, and what opens its gates.

An address of the hub is kept under one spelling, ``https://huggingface.co/org/name/resolve/revision/file``, whatever
server ``HF_ENDPOINT`` names: a mirror serves the same files, and the cache need not care which.
"""

import os
import re
from collections.abc import Mapping

from registry.errors import UnsafeURLError
from registry.files.urls import normalised, origin

HUB = "https://huggingface.co"
DEFAULT_REVISION = "main"

_SHORT = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?/(?P<file>[^?#]+)")
_RESOLVED = re.compile(rf"(?P<start>{re.escape(HUB)}/.+?/resolve)/(?P<revision>[^/]+)/(?P<file>.+)")


def address(url: str) -> str:
    """The one spelling of an address, also of ``hub:org/name@revision/file``.  Raises UnsafeURLError."""
    if not url.startswith("hub:"):
        return normalised(url)
    short = _SHORT.fullmatch(url)
    if short is None:
        raise UnsafeURLError(
            f"{url!r} is not of the form hub:organisation/name/file or hub:organisation/name@revision/file."
        )
    return file_address(short["repository"], short["revision"] or DEFAULT_REVISION, short["file"])


def file_address(repository: str, revision: str, name: str) -> str:
    """The address of a file of a repository."""
    return normalised(f"{HUB}/{repository}/resolve/{revision.replace('/', '%2F')}/{name}")


def listing_address(repository: str, revision: str) -> str:
    """The address that says which commit a revision is, and which files it has."""
    return normalised(f"{HUB}/api/models/{repository}/revision/{revision.replace('/', '%2F')}")


def at_revision(url: str, revision: str) -> str | None:
    """The same file of the hub at another revision; None for an address that has no revisions."""
    found = _RESOLVED.fullmatch(address(url)) if url.startswith(("https:", "hub:")) else None
    return None if found is None else f"{found['start']}/{revision.replace('/', '%2F')}/{found['file']}"


def endpoint() -> str:
    """The server that stands for the hub: ``HF_ENDPOINT``, or the hub itself."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def through_endpoint(url: str) -> str:
    """Where an address of the hub is asked for; other addresses are as they are."""
    return endpoint() + url.removeprefix(HUB) if url.startswith(f"{HUB}/") else url


def credentials(url: str) -> Mapping[str, str]:
    """The header that proves who asks: ``HF_TOKEN``, for the server of the hub and for no other."""
    token = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token and origin(url) == origin(endpoint()) else {}
