"""Failures of HTTP requests as errors of this library, with advice and without secrets."""

import re
import time
import traceback
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3.exceptions

from registry.download import hub
from registry.errors import FetchError, HTTPStatusError, IncompleteDownloadError, NotCachedError
from registry.files.urls import redacted, redacted_in
from registry.records import HUB

_LOGIN = "a token in the variable HF_TOKEN, or stored by `hf auth login`."
_LOCKED = (
    "The hub gives this answer for names that do not exist, too: check the spelling. A private or gated repository "
    f"needs {_LOGIN}"
)
_PROXIES = "The variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used."
_REFUSED = (
    "A user name and a password can be part of the URL (https://user:password@host/...), special characters as percent "
    "codes: %40 for @."
)
_ADVICE = {
    304: "It was not asked whether the file had changed: the server, or a cache on the way, is at fault.",
    401: _REFUSED,
    403: _REFUSED,
    407: _PROXIES,
    429: "The server wants fewer requests; try again later.",
}
_ADVICE_OF_HUB = {**_ADVICE, 401: _LOCKED, 403: _LOCKED}

LONGEST_REASON = 300
"""Letters of what a server says in a header that are part of a message."""

_USER = re.compile(r"//[^/@\s]*@")
"""User name and password in a URL, such as that of a proxy."""


def status_error(asked: str, url: str, response: requests.Response) -> HTTPStatusError:
    """The error for a response whose status is a refusal.

    Args:
        asked: The URL in its one spelling.
        url: The URL that was asked last.
        response: Its response.
    """
    status = response.status_code
    reason = redacted_in(response.headers.get("X-Error-Message") or response.reason or "")[:LONGEST_REASON]
    return HTTPStatusError(
        f"{redacted(url)} answers {status} {reason}".rstrip(". ") + ".",
        status=status,
        retry_after=_seconds(response.headers.get("Retry-After")),
        hint=_advice(asked, response),
    )


def _advice(asked: str, response: requests.Response) -> str | None:
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return _gated(asked)
    advice = _ADVICE_OF_HUB if asked.startswith(f"{HUB}/") else _ADVICE
    return advice.get(response.status_code)


def _gated(url: str) -> str:
    """What to do where the hub asks for consent to the terms of a repository."""
    repository = hub.repository_of(url)
    page = "its page" if repository is None else f"{HUB}/{repository}"
    return f"The repository is gated: accept its terms on {page}, and give {_LOGIN}"


def request_error(url: str, problem: Exception) -> FetchError:
    """The error for a request that got no response.

    Args:
        url: The URL of the request.
        problem: What requests or urllib3 raised.

    Returns:
        NotCachedError where the server cannot be reached, IncompleteDownloadError where it closed the connection,
        FetchError for all else.
    """
    for kinds, describe in _FAILURES:
        if isinstance(problem, kinds) or isinstance(_cause(problem), kinds):
            return describe(url, problem)
    reason = _reason(problem, url)
    hint = "`pip install 'requests[socks]'` brings what a SOCKS proxy needs." if "SOCKS support" in reason else None
    return FetchError(f"{redacted(url)} cannot be fetched: {reason}.", hint=hint)


def _proxy_error(url: str, problem: Exception) -> FetchError:
    return FetchError(
        f"{redacted(url)} cannot be fetched through the proxy: {_reason(problem, url)}.",
        hint=_PROXIES,
    )


def _tls_error(url: str, problem: Exception) -> FetchError:
    return FetchError(
        f"TLS certificate verification failed for {redacted(url)}: {_reason(problem, url)}.",
        hint="If the server, or a proxy on the way, is your own, name its certificates in REQUESTS_CA_BUNDLE (or "
        "SSL_CERT_FILE). "
        "Certificates are always verified.",
    )


def _connection_error(url: str, problem: Exception) -> FetchError:
    cause = _cause(problem)
    if isinstance(cause, urllib3.exceptions.ProtocolError):
        if isinstance(cause.args[-1], ConnectionError):
            return IncompleteDownloadError(
                f"{redacted(url)} closed the connection before answering.", got=0, expected=None
            )
        return FetchError(f"{redacted(url)} did not answer as HTTP servers do: {_reason(problem, url)}.")
    return NotCachedError(f"{redacted(url)} cannot be reached: {_reason(problem, url)}.")


_FAILURES: tuple[tuple[Any, Callable[[str, Exception], FetchError]], ...] = (
    (
        (
            requests.exceptions.ProxyError,
            requests.exceptions.InvalidProxyURL,
            urllib3.exceptions.ProxySchemeUnknown,
        ),
        _proxy_error,
    ),
    (requests.exceptions.SSLError, _tls_error),
    (requests.exceptions.ConnectionError, _connection_error),
)
"""From the most to the least special, since ProxyError and SSLError are ConnectionErrors."""


def _cause(problem: BaseException) -> BaseException:
    """The urllib3 error inside of one of requests."""
    inner = problem.args[0] if problem.args else None
    return getattr(inner, "reason", None) or inner if isinstance(inner, BaseException) else problem


def _reason(problem: Exception, url: str) -> str:
    """The reason of an error as text, without the URL, which may hold secrets."""
    cause = _cause(problem)
    text = str(cause).replace(url, redacted(url)).rpartition(">: ")[2] or type(cause).__name__
    for secret in _secrets(url):
        text = text.replace(secret, "...")
    return _USER.sub("//", text).rstrip(".")


def holds_secrets(problem: Exception, url: str, headers: Mapping[str, str]) -> bool:
    """Whether a traceback of ``problem`` would show a secret of the URL, of the headers, or of a proxy's URL."""
    text = "".join(traceback.format_exception(problem))
    sent = headers.get("Authorization", "").rpartition(" ")[2]
    return _USER.search(text) is not None or any(secret in text for secret in filter(None, (*_secrets(url), sent)))


def _secrets(url: str) -> list[str]:
    """What of a URL is shown to nobody."""
    parts = urlsplit(url)
    return list(filter(None, (parts.password, unquote(parts.password or ""), parts.query)))


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header, which holds them or a date; None for anything else."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
