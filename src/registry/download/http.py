"""One request for a file, with the redirects that lead to it.

Redirects are followed here and not by ``requests``, so that each hop is checked, and none gets what was meant for
another: credentials go to the server they are for, and no server may lead from https: to anything weaker.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from attrs import frozen

from registry._version import __version__
from registry.download import hub
from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    NotCachedError,
    UnsafeURLError,
)
from registry.files.urls import credentials, normalised, redacted

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
MOST_HOPS = 5

REDIRECTS = (301, 302, 303, 307, 308)
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416


@frozen(kw_only=True)
class Answer:
    """The headers of an answer whose body is still to be read."""

    response: requests.Response
    url: str
    """The last hop, which sends the body."""
    first: Mapping[str, str]
    """The headers of the first hop: what the hub says of a file stands there, and not in the answer of its CDN."""

    @property
    def header(self) -> Mapping[str, str]:
        """The headers of the last hop, by names in any case."""
        return self.response.headers

    @property
    def etag(self) -> str | None:
        """The name of the content: the hub's own before the server's; without quotes and ``W/``."""
        found = self.first.get("X-Linked-Etag") or self.first.get("ETag") or self.header.get("ETag")
        return found.removeprefix("W/").strip('"') or None if found else None

    @property
    def validator(self) -> str | None:
        """The ETag of the server that sends the body, if the rest can be asked for by it (RFC 9110 §13.1.5)."""
        found = self.header.get("ETag")
        return found if found and not found.startswith("W/") and found.isascii() and len(found) <= 1024 else None

    @property
    def revision(self) -> str | None:
        """The commit of the hub's repository."""
        return self.first.get("X-Repo-Commit")

    def close(self) -> None:
        """Leave the rest of the body unread."""
        self.response.close()


def ask(url: str, headers: Mapping[str, str], *, enough: Callable[[Answer], bool] = lambda _answer: False) -> Answer:
    """Send a GET for a normalised address, and follow redirects to the answer; its body is not read yet.

    A first answer that is ``enough`` is returned as it is, and its redirect not followed.

    Raises NotCachedError when the server cannot be reached, DownloadTimeoutError when it is silent, UnsafeURLError when
    it leads elsewhere, HTTPStatusError when it refuses, and FetchError when it does not speak HTTP as it should.
    """
    here = hub.through_endpoint(url)
    first: Mapping[str, str] | None = None
    for _ in range(MOST_HOPS + 1):
        response = _get(here, headers)
        first = response.headers if first is None else first
        target = response.headers.get("Location")
        if response.status_code not in REDIRECTS or target is None:
            break
        if first is response.headers and enough(Answer(response=response, url=here, first=first)):
            return Answer(response=response, url=here, first=first)
        response.close()
        here = _followed(here, target)
    else:
        raise FetchError(f"{redacted(url)} is redirected more than {MOST_HOPS} times.")
    if response.status_code not in (200, 206, NOT_MODIFIED):
        response.close()
        raise _refused(here, response)
    return Answer(response=response, url=here, first=first)


def _followed(here: str, target: str) -> str:
    """Where a redirect leads.  Raises UnsafeURLError."""
    try:
        there = normalised(urljoin(here, target))
    except (UnsafeURLError, ValueError) as problem:
        raise UnsafeURLError(f"{redacted(here)} leads to {redacted(target)!r}, which is not followed.") from problem
    if here.startswith("https:") and not there.startswith("https:"):
        raise UnsafeURLError(f"{redacted(here)} leads to {redacted(there)}, which anybody on the way can change.")
    return there


def _get(url: str, headers: Mapping[str, str]) -> requests.Response:
    """Send one request, past those parts of a session that would follow redirects and gather cookies."""
    own = {"Accept-Encoding": "identity", "User-Agent": f"registry/{__version__}"}
    session = _session()
    try:
        request = session.prepare_request(
            requests.Request(
                "GET", url, headers={**own, **hub.credentials(url), **headers}, auth=credentials(url) or _no_auth
            )
        )
        settings = session.merge_environment_settings(request.url, {}, True, None, None)
        adapter: Any = session.get_adapter(url)
        found: requests.Response = adapter.send(request, timeout=(CONNECT_SECONDS, READ_SECONDS), **settings)
    except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as problem:
        raise _failed(url, problem) from problem
    return found


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


# --- Refusals ---------------------------------------------------------------------------------------------------------


def _failed(url: str, problem: Exception) -> FetchError:
    """What kept a request from being answered, as an error of ours."""
    for kinds, describe in _FAILURES:
        if isinstance(problem, kinds) or isinstance(_cause(problem), kinds):
            return describe(url, problem)
    return FetchError(f"{redacted(url)} cannot be fetched: {_plain(problem, url)}.")


def _proxy(url: str, problem: Exception) -> FetchError:
    return FetchError(
        f"{redacted(url)} cannot be fetched through the proxy: {_plain(problem, url)}.",
        hint=_PROXIES,
    )


def _tls(url: str, problem: Exception) -> FetchError:
    return FetchError(
        f"{redacted(url)} cannot prove who it is: {_plain(problem, url)}.",
        hint="If a proxy of yours stands between, name its certificates in REQUESTS_CA_BUNDLE. "
        "Certificates are always checked.",
    )


def _silent(url: str, _problem: Exception) -> FetchError:
    return DownloadTimeoutError(f"{redacted(url)} did not answer within {READ_SECONDS:.0f} s.")


def _unreachable(url: str, problem: Exception) -> FetchError:
    cause = _cause(problem)
    if isinstance(cause, urllib3.exceptions.ProtocolError):
        if isinstance(cause.args[-1], ConnectionError):
            return IncompleteDownloadError(f"{redacted(url)} hung up before it answered.", got=0, expected=None)
        return FetchError(f"{redacted(url)} did not answer as HTTP servers do: {_plain(problem, url)}.")
    return NotCachedError(f"{redacted(url)} cannot be reached: {_plain(problem, url)}.")


_FAILURES: tuple[tuple[Any, Callable[[str, Exception], FetchError]], ...] = (
    (
        (
            requests.exceptions.ProxyError,
            requests.exceptions.InvalidProxyURL,
            urllib3.exceptions.ProxySchemeUnknown,
        ),
        _proxy,
    ),
    (requests.exceptions.SSLError, _tls),
    (requests.exceptions.ReadTimeout, _silent),
    (requests.exceptions.ConnectionError, _unreachable),
)
"""From the most to the least special, since ProxyError and SSLError are ConnectionErrors."""


def _cause(problem: BaseException) -> BaseException:
    """The urllib3 error inside of one of requests."""
    inner = problem.args[0] if problem.args else None
    return getattr(inner, "reason", None) or inner if isinstance(inner, BaseException) else problem


def _plain(problem: Exception, url: str) -> str:
    """The reason in words, without the address, which may hold secrets."""
    cause = _cause(problem)
    parts = urlsplit(url)
    words = str(cause).replace(url, redacted(url)).rpartition(">: ")[2] or type(cause).__name__
    for secret in filter(None, (parts.password, parts.query)):
        words = words.replace(secret, "...")
    return words.rstrip(".")


def _refused(url: str, response: requests.Response) -> HTTPStatusError:
    status = response.status_code
    reason = response.headers.get("X-Error-Message") or response.reason or ""
    wait = _seconds(response.headers.get("Retry-After"))
    return HTTPStatusError(
        f"{redacted(url)} answers {status} {reason}".rstrip() + ".",
        status=status,
        retry_after=wait,
        hint=_ADVICE.get(status),
    )


_LOCKED = (
    "The hub gives this answer for names that do not exist, too: check the spelling. A private or gated repository "
    "needs a token, in the variable HF_TOKEN."
)
_PROXIES = "The variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used."
_ADVICE = {401: _LOCKED, 403: _LOCKED, 407: _PROXIES, 429: "The server wants fewer requests; try again later."}


def _seconds(retry_after: str | None) -> float | None:
    """The wait that a server asks for, in seconds or until a date; None where it asks for nothing that makes sense."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
