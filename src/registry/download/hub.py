"""The hub: the form of its URLs, the server that stands for it, and the token that is sent to it.

A URL of the hub is kept under one spelling, ``https://huggingface.co/org/name/resolve/revision/file``, whatever server
``HF_ENDPOINT`` names: a mirror serves the same files, and the cache need not tell them apart.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from registry.cache.directories import client_home, client_path
from registry.errors import ConfigError, FetchError, UnsafeURLError
from registry.files.environment import variable
from registry.files.urls import HUB_HOSTS, SCHEMES, normalized, origin, redacted
from registry.records import HUB

DEFAULT_REVISION = "main"

_SHORT = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>refs/pr/\d+|[\w.-]+))?/(?P<file>[^?#]+)")
_FILE = re.compile(
    rf"{re.escape(HUB)}/(?P<repository>(?:[\w.-]+/)?[\w.-]+)/resolve/(?P<revision>refs/pr/\d+|[^/]+)/(?P<file>[^?]+)"
    r"(?:\?.*)?"
)
_LOCATION = re.compile(r"/(api/(models|resolve-cache)|[\w.-]+/[\w.-]+/resolve)/")
"""How the hub's own redirects begin."""
_BLOB = rf"(?P<repository>{re.escape(HUB)}/(?:[\w.-]+/)?[\w.-]+)/(?:blob|raw)/(?P<rest>[^/]+/.+)"
_PAGE = (
    r"(?P<repository>(?!datasets/|spaces/|api/|docs/)(?:[\w.-]+/)?[\w.-]+)"
    r"(?:/(?P<kind>tree|blob|raw)/(?P<revision>refs/pr/\d+|[^/]+)(?:/(?P<path>.*))?)?"
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
        UnsafeURLError: It is not a URL that can be fetched.
    """
    if not url.startswith("hub:"):
        return _without_page(normalized(url))
    short = _SHORT.fullmatch(url)
    if short is None:
        raise UnsafeURLError(
            f"{redacted(url)!r} is not of the form hub:organization/name/file or hub:organization/name@revision/file."
        )
    return HubFile(short["repository"], short["revision"] or DEFAULT_REVISION, short["file"]).url


def _without_page(url: str) -> str:
    """The URL of a file, for that of the page which shows it."""
    found = re.fullmatch(_BLOB, url)
    return url if found is None else f"{found['repository']}/resolve/{found['rest']}"


class HubPage(NamedTuple):
    """What a page of the hub shows: a repository at a revision, or a directory or file in it."""

    repository: str
    """``organization/name``; for the first models of the hub, ``name``."""
    revision: str | None
    kind: str | None
    """``tree``, ``blob``, ``raw``; None for the page of the repository."""
    path: str
    """The directory or file; empty for the repository itself."""


def page(url: str) -> HubPage | None:
    """What a web URL shows, where it is a page of the hub rather than a file or a directory of files."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # no URL at all, as whoever fetches it will say
        return None
    own = (parts.hostname or "") in HUB_HOSTS
    if not own and not is_endpoint(url.strip()):
        return None
    path = parts.path if own else parts.path.removeprefix(urlsplit(endpoint()).path)
    found = re.fullmatch(_PAGE, path.strip("/"))
    if found is None or (not own and found["kind"] is None):  # a mirror may serve directories, too
        return None
    revision = None if found["revision"] is None else unquote(found["revision"])
    return HubPage(found["repository"], revision, found["kind"], unquote(found["path"] or ""))


def recorded(url: str) -> str:
    """A URL as the cache records it: in its one spelling, and without secrets."""
    try:
        return redacted(canonical(url))
    except FetchError:
        return url


def listing_url(repository: str, revision: str) -> str:
    """The URL that lists the files of a repository, and names the commit that a revision is."""
    return normalized(f"{HUB}/api/models/{repository}/revision/{_quoted(revision)}")


def revision_url(repository: str, revision: str) -> str:
    """The URL below which the files of a repository at a revision are."""
    return normalized(f"{HUB}/{repository}/resolve/{_quoted(revision)}")


def repository_urls(repository: str) -> tuple[str, str]:
    """The URLs below which the files of a repository, and its listings, are."""
    return f"{HUB}/{repository}/resolve", f"{HUB}/api/models/{repository}/revision"


def repository_of(url: str) -> str | None:
    """The repository of a file or a listing of the hub; None for any other URL in its one spelling."""
    file = hub_file(url)
    if file is not None:
        return file.repository
    listing = re.fullmatch(rf"{re.escape(HUB)}/api/models/(?P<repository>(?:[\w.-]+/)?[\w.-]+)/revision/.*", url)
    return None if listing is None else listing["repository"]


def at_revision(url: str, revision: str) -> str | None:
    """The URL of the same file of the hub at another revision; None for a URL that has no revisions."""
    file = hub_file(canonical(url)) if url.startswith(("https:", "hub:")) else None
    return None if file is None else file._replace(revision=revision).url


def endpoint() -> str:
    """The server that stands for the hub: ``HF_ENDPOINT``, or the hub itself.

    Raises:
        ConfigError: The variable holds no URL.
    """
    found = (variable("HF_ENDPOINT") or HUB).rstrip("/")
    with suppress(ValueError):
        parts = urlsplit(found)
        if parts.scheme.lower() in SCHEMES and parts.hostname and not re.search(r"\s", found):
            return found
    raise ConfigError(
        f"the variable HF_ENDPOINT is {redacted(found)!r}, which is not a URL of a server.",
        hint=f"It begins with https:// or http://, as in {HUB}.",
    )


def through_endpoint(url: str) -> str:
    """The URL that is asked instead of a URL of the hub; other URLs are returned as they are."""
    return endpoint() + url.removeprefix(HUB) if url.startswith(f"{HUB}/") else url


def location(target: str) -> str:
    """Where a redirect of the server that stands for the hub leads.

    A mirror under a path may pass on the redirects of the hub, whose paths begin at the hub: they are meant below it.
    """
    path = urlsplit(endpoint()).path
    is_passed_on = _LOCATION.match(target) and path and not target.startswith(f"{path}/")
    return path + target if is_passed_on else target


def is_endpoint(url: str) -> bool:
    """Whether a URL is of the server that stands for the hub."""
    try:
        return origin(url) == origin(endpoint())
    except ConfigError:  # of the variable HF_ENDPOINT, which does not concern other servers
        return False


def credentials(url: str) -> Mapping[str, str]:
    """The header that authenticates a request, for the server of the hub and for no other.  Raises ConfigError."""
    found = token() if is_endpoint(url) else None
    return {"Authorization": f"Bearer {found}"} if found else {}


def token() -> str | None:
    """The token of the hub: in ``HF_TOKEN``, else in the file that ``hf auth login`` writes.

    Raises:
        ConfigError: It cannot be one; the message says where it is, and never what it is.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if found := variable(name):
            return _checked_token(found, f"the variable {name}")
    path = token_path()
    try:
        found = path.read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    return _checked_token(found, f"the file {path}") if found else None


def token_path() -> Path:
    """The file in which ``hf auth login`` stores the token."""
    path = variable("HF_TOKEN_PATH")
    return client_path(path) if path else client_home() / "token"


def _checked_token(found: str, where: str) -> str:
    if not re.fullmatch(r"[!-~]+", found):
        raise ConfigError(
            f"{where} does not hold a token of the hub: there is white space in it, or a letter outside of ASCII.",
            hint="A token begins with hf_; `hf auth login` stores one.",
        )
    return found


def _quoted(revision: str) -> str:
    return revision.replace("/", "%2F")
