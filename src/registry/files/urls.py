"""Addresses: one spelling for each, and no secrets in messages."""

import re
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from registry.errors import UnsafeURLError

SCHEMES = ("https", "http")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_SAFE = "%/:=&?~#+!$,;'@()*[]"


def normalised(url: str) -> str:
    """The one spelling of a web address: scheme and host in lower case, IDNA and percent codes, no fragment.

    Raises UnsafeURLError for what is no web address.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError as problem:
        raise UnsafeURLError(f"{redacted(url)!r} is no address: {problem}.") from problem
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or not host:
        raise UnsafeURLError(
            f"{redacted(url)!r} cannot be fetched: only https: and http: addresses can.", hint=_advice(scheme)
        )
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    shown = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
    path = quote(parts.path, safe=_SAFE) or "/"
    return urlunsplit((scheme, f"{user}{host}{shown}", path, quote(parts.query, safe=_SAFE), ""))


def redacted(url: str) -> str:
    """An address for messages and records: without user name, password, fragment, and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])
    query = "&".join(f"{name.partition('=')[0]}=..." for name in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what a credential is for."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def credentials(url: str) -> tuple[str, str] | None:
    """User name and password that stand in an address."""
    parts: SplitResult = urlsplit(url)
    return None if parts.username is None else (parts.username, parts.password or "")


def _host(host: str) -> str:
    host = host.rstrip(".").lower()
    if ":" in host:
        return f"[{host}]"
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _advice(scheme: str) -> str | None:
    return "Give the https: address of the same object." if scheme in ("s3", "gs", "gcs") else None
