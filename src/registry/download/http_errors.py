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
from registry.download.advice import ACCOUNT, AUTHENTICATION, CERTIFICATES, HIDDEN, LOGIN, NETWORK, PROXIES, wanted
from registry.errors import FetchError, HTTPStatusError, IncompleteDownloadError, NotCachedError
from registry.files.urls import redacted, redacted_in, server_in
from registry.records import HUB

_ADVICE = {
    304: "It was not asked whether the file had changed: the server, or a cache on the way, is at fault.",
    401: ACCOUNT,
    403: ACCOUNT,
    407: f"{PROXIES} {AUTHENTICATION}",
    429: "The server wants fewer requests; try again later.",
}
_ADVICE_OF_HUB = {**_ADVICE, 401: HIDDEN, 403: HIDDEN}

LONGEST_REASON = 300
"""Letters of what a server says in a header that are part of a message."""

_USER = re.compile(r"//[^/@\s]*@")
"""User name and password in a URL, such as that of a proxy."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d+[^'\")]*)")
"""How the standard library says what a proxy answered."""
_ERRNO = re.compile(r"\[Errno \d+\] ([^'\")]+)")


def status_error(asked: str, url: str, response: requests.Response) -> HTTPStatusError:
    """The error for a response whose status is a refusal.

    Args:
        asked: The URL in its one spelling.
        url: The URL that was asked last.
        response: Its response.
    """
    status = response.status_code
    said = redacted_in(response.headers.get("X-Error-Message") or response.reason or "")[:LONGEST_REASON]
    reason = f"answers {status} {said}".rstrip(". ")
    error = HTTPStatusError(
        f"{redacted(url)} {reason}.",
        status=status,
        retry_after=_seconds(response.headers.get("Retry-After")),
        hint=_advice(asked, response),
    )
    error.url, error.reason = redacted(url), reason
    return error


def _advice(asked: str, response: requests.Response) -> str | None:
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return _gated(asked)
    advice = _ADVICE_OF_HUB if asked.startswith(f"{HUB}/") else _ADVICE
    return advice.get(response.status_code)


def _gated(url: str) -> str:
    """What to do where the hub asks for consent to the terms of a repository."""
    repository = hub.repository_of(url)
    page = "its page" if repository is None else f"{HUB}/{repository}"
    return f"The repository is gated: accept its terms on {page}, and give {LOGIN}"


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
    reason = _in_short(problem, url)
    advice = f"{PROXIES} {AUTHENTICATION}" if reason.startswith("407") else PROXIES
    return _of_server(FetchError, url, f"cannot be reached through the proxy ({reason})", advice)


def _tls_error(url: str, problem: Exception) -> FetchError:
    return _of_server(FetchError, url, f"failed TLS certificate verification ({_reason(problem, url)})", CERTIFICATES)


def _of_server(kind: type[FetchError], url: str, reason: str, advice: str) -> FetchError:
    """The error of a server, in three lines; ``reason`` is the predicate of the first."""
    error = kind(f"{server_in(url)} {reason}.", hint=wanted(redacted(url), advice))
    error.url, error.reason = redacted(url), reason
    return error


def _connection_error(url: str, problem: Exception) -> FetchError:
    cause = _cause(problem)
    if isinstance(cause, urllib3.exceptions.ProtocolError):
        if isinstance(cause.args[-1], ConnectionError):
            return IncompleteDownloadError(
                f"{redacted(url)} closed the connection before answering.", got=0, expected=None
            )
        return FetchError(f"{redacted(url)} did not answer as HTTP servers do: {_reason(problem, url)}.")
    error = _of_server(NotCachedError, url, f"cannot be reached ({_in_short(problem, url)})", NETWORK)
    error.details = f"{redacted(url)}: {_reason(problem, url)}."
    return error


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


def _in_short(problem: Exception, url: str) -> str:
    """The reason of an error in a few words where it is a common one, else as ``_reason`` says it."""
    cause = _cause(problem)
    cause = getattr(cause, "original_error", cause)  # of a proxy
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "name not known"
    if refused := _TUNNEL.search(str(cause)):
        return refused[1]
    of_system = cause.__cause__
    if isinstance(cause, urllib3.exceptions.NewConnectionError):  # in some versions it is a timeout as well
        said = _ERRNO.search(str(cause))  # a SOCKS proxy leaves nothing but a text
        system = of_system.strerror if isinstance(of_system, OSError) else said and said[1]
        return str(system).lower() if system else _reason(problem, url)
    if isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
        return "no answer"
    return _reason(problem, url)


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
