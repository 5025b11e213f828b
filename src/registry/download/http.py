"""One GET request for a file, with the redirects that lead to it.

Redirects are followed here and not by ``requests``, so that each hop is checked, and none gets what was meant for
another: credentials go to the server they are for, and no server may lead from https: to anything weaker.
"""

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from attrs import field, frozen

from registry._version import __version__
from registry.download import hub
from registry.download.http_errors import holds_secrets, request_error, status_error
from registry.errors import DownloadTimeoutError, FetchError, UnsafeURLError
from registry.files.environment import variable
from registry.files.urls import credentials, normalized, origin, redacted

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
MOST_HOPS = 5

REDIRECTS = (301, 302, 303, 307, 308)
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416


@frozen(kw_only=True)
class HTTPResponse:
    """The status and headers of a response, whose body is still to be read."""

    raw: requests.Response = field(repr=False)
    url: str = field(repr=redacted)
    """The URL of the last hop, which sends the body."""
    first_headers: Mapping[str, str] = field(repr=False)
    """Headers of the first hop: what the hub says of a file stands there, and not in the response of its CDN."""

    @property
    def status(self) -> int:
        """The status of the last hop."""
        return self.raw.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the last hop, by names in any case."""
        return self.raw.headers

    @property
    def body(self) -> Any:
        """The body, as urllib3 reads it."""
        return self.raw.raw

    @property
    def etag(self) -> str | None:
        """The ETag of the content without quotes and ``W/``: the hub's own before that of the server."""
        found = self.first_headers.get("X-Linked-Etag") or self.first_headers.get("ETag") or self.headers.get("ETag")
        return found.removeprefix("W/").strip('"') or None if found else None

    @property
    def digest(self) -> str | None:
        """The sha256 (64 hex digits) or sha1 of git (40) of the content, where the hub promises one."""
        found = self.etag if self.revision is not None or "X-Linked-Etag" in self.first_headers else None
        return found if found and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", found) else None

    @property
    def validator(self) -> str | None:
        """The strong ETag of the server that sends the body, by which it sends the rest (RFC 9110, section 13.1.5)."""
        found = self.headers.get("ETag")
        return found if found and not found.startswith("W/") and found.isascii() and len(found) <= 1024 else None

    @property
    def revision(self) -> str | None:
        """The commit of the hub's repository."""
        return self.first_headers.get("X-Repo-Commit")

    def close(self) -> None:
        """Leave the rest of the body unread."""
        self.raw.close()


def get(
    url: str, headers: Mapping[str, str], *, stop_early: Callable[[HTTPResponse], bool] = lambda _response: False
) -> HTTPResponse:
    """Send a GET request, and follow redirects to the response.

    Args:
        url: The URL in its one spelling.
        headers: Headers of the request.
        stop_early: Whether the first response is enough: then its redirect is not followed.

    Returns:
        The response, whose body is not read yet.

    Raises:
        NotCachedError: The server cannot be reached.
        DownloadTimeoutError: The server stalled.
        UnsafeURLError: A redirect leads where no server may lead.
        HTTPStatusError: The server refused.
        FetchError: The server does not speak HTTP as it should, or redirects without end.
    """
    here = hub.through_endpoint(url)
    first: Mapping[str, str] | None = None
    for _ in range(MOST_HOPS + 1):
        raw = _answer(here, headers)
        first = raw.headers if first is None else first
        response = HTTPResponse(raw=raw, url=here, first_headers=first)
        target = raw.headers.get("Location")
        if raw.status_code not in REDIRECTS or target is None:
            break
        if first is raw.headers and stop_early(response):
            return response
        response.close()
        here = _followed(here, target)
    else:
        raise FetchError(f"{redacted(url)} is redirected more than {MOST_HOPS} times.")
    if response.status in (200, 206) or (response.status == NOT_MODIFIED and "If-None-Match" in headers):
        return response
    response.close()
    raise status_error(url, here, raw)


def _followed(here: str, target: str) -> str:
    """The URL to which a redirect leads.  Raises UnsafeURLError."""
    try:
        there = normalized(urljoin(here, hub.location(target) if hub.is_endpoint(here) else target))
    except (UnsafeURLError, ValueError) as problem:
        raise UnsafeURLError(f"{redacted(here)} redirects to {redacted(target)!r}, which is not followed.") from problem
    if "@" in here and origin(there) == origin(here) and "@" not in there.partition("//")[2].partition("/")[0]:
        there = there.replace("//", f"//{urlsplit(here).netloc.rpartition('@')[0]}@", 1)  # also for the same server
    if here.startswith("https:") and not there.startswith("https:"):
        raise UnsafeURLError(
            f"{redacted(here)} redirects to {redacted(there)}, which is not encrypted and is not followed."
        )
    return there


def _answer(url: str, headers: Mapping[str, str]) -> requests.Response:
    """The response to one request; an error comes without those of requests where their texts hold secrets."""
    own = {"Accept-Encoding": "identity", "User-Agent": f"registry/{__version__}"}
    sent = {**own, **hub.credentials(url), **headers}
    certificates = _certificates() if url.startswith("https:") else None
    try:
        return _send(url, sent, certificates)
    except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as problem:  # requests raises OSErrors of its own
        cause = problem
    if isinstance(cause, requests.exceptions.ReadTimeout):
        error: FetchError = DownloadTimeoutError(f"{redacted(url)} stalled: no answer within {READ_SECONDS:.0f} s.")
    else:
        error = request_error(url, cause)
    raise error from (None if holds_secrets(cause, url, sent) else cause)


CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name certificates to be trusted, in place of those that come with requests."""


def _certificates() -> str | None:
    """The file, or directory, of the certificates to be trusted; None for those that come with requests.

    Raises:
        FetchError: The variable names what is not there.
    """
    name = next(filter(variable, CERTIFICATES), None)
    path = None if name is None else variable(name)
    if path is not None and not os.path.exists(path):  # noqa: PTH110  # Path.exists raises for names that are too long
        raise FetchError(
            f"the certificates for TLS cannot be read: the variable {name} names {path!r}, which does not exist.",
            hint="Name the file of the certificates that your servers and proxies have, or leave the variable unset.",
        )
    return path


def _send(url: str, headers: Mapping[str, str], certificates: str | None) -> requests.Response:
    """Send one request, past those parts of a session that would follow redirects and gather cookies."""
    session = _session()
    request = session.prepare_request(requests.Request("GET", url, headers=headers, auth=credentials(url) or _no_auth))
    settings = session.merge_environment_settings(request.url, {}, True, None, None)
    settings["verify"] = certificates or True
    adapter: Any = session.get_adapter(url)
    _local.is_sending = True
    try:
        found: requests.Response = adapter.send(request, timeout=(CONNECT_SECONDS, READ_SECONDS), **settings)
    finally:
        _local.is_sending = False
    return found


def _without_secrets(record: logging.LogRecord) -> bool:
    """Take the values of queries out of what urllib3 logs of our requests (at the level DEBUG)."""
    if getattr(_local, "is_sending", False) and isinstance(record.args, tuple):
        record.args = tuple(redacted(value) if isinstance(value, str) else value for value in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_secrets)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials: without this, requests would send those which it finds in ``~/.netrc``."""
    return request


_local = threading.local()


def _session() -> requests.Session:
    """The session of this thread, in this process: a fork must not share the connections of its parent."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.session = os.getpid(), requests.Session()
    found: requests.Session = _local.session
    return found
