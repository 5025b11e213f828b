"""URLs: one spelling for each, what they carry, and no secrets in messages."""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

from registry.errors import UnsafeURLError

SCHEMES = ("https", "http")
WEB = ("https:", "http:", "hub:")
"""Prefixes of the URLs that are fetched."""

HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
"""Hosts of the hub's pages, whose URLs people copy."""

_LOGIN = r"^(//|)(?!hub:|pkg:|file:)[^/@:]+:[^/@]+@"
"""User and password before a server."""
_URL = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>]+"
_DEFAULT_PORTS = {"https": 443, "http": 80}
_SAFE = "%/:=&?~#+!$,;'@()*[]"


def normalized(url: str) -> str:
    """The one spelling of a web URL: scheme and host in lower case, IDNA and percent codes, no fragment.

    Raises:
        UnsafeURLError: It is not a URL, or of another scheme than https and http.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = _host(parts.hostname or "")
        path, query = quote(parts.path, safe=_SAFE) or "/", quote(parts.query, safe=_SAFE)
    except ValueError:  # whose text may have user and password in it
        raise UnsafeURLError(f"{redacted(url)!r} is not a URL: its server or its port is wrong, or a letter.") from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or not host:
        raise UnsafeURLError(
            f"{redacted(url)!r} cannot be fetched: only https: and http: URLs can.", hint=_advice(scheme)
        )
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    shown = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
    return urlunsplit((scheme, f"{user}{host}{shown}", path, query, ""))


def is_url(text: str) -> bool:
    """Whether the parts of a URL can be told from each other."""
    try:
        urlsplit(text).port  # noqa: B018  # raises ValueError
    except ValueError:
        return False
    return True


def redacted(url: str) -> str:
    """A URL for messages and records: without user name, password, fragment, and the values of its query."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises ValueError
    except ValueError:  # also of a password with a "/" in it, which is read as a port
        return re.sub(r"//.*@", "//", re.split(r"[?#]", url)[0])
    query = "&".join(_redacted_value(value) for value in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _redacted_value(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}=..." if equals else "..."


def without_secrets(text: str) -> str:
    """A name, path or URL for people; of a URL what ``redacted`` leaves, also of one without its scheme."""
    return redacted(text) if "://" in text or text.startswith("hub:") else re.sub(_LOGIN, r"\1", text)


def redacted_in(text: str) -> str:
    """A text with what ``redacted`` leaves of each URL in it."""
    return re.sub(_URL, lambda found: redacted(found[0]), text)


def shown(text: str) -> str:
    """The ``repr`` of a name, path or URL without the secrets of a URL."""
    return repr(without_secrets(text))


def split_digest(url: str) -> tuple[str, str | None]:
    """A URL, and the sha256 in its fragment: ``https://example.org/model.zip#sha256=<64 hex digits>``.

    Returns:
        The URL without its fragment, and the digest; None where there is no fragment.

    Raises:
        ValueError: There is a fragment of another form.
    """
    plain, mark, fragment = url.partition("#")
    if not mark:
        return plain, None
    digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
    if digest is None:
        raise ValueError(f"the fragment of {redacted(url)!r} must be 'sha256=' and 64 lower-case hex digits")
    return plain, digest[1]


def name_in(url: str) -> str:
    """The last part of a URL's path, without percent codes: the name of a file."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def is_at_or_below(url: str, others: Iterable[str]) -> bool:
    """Whether a URL is one of these, or lies in the directory that one of these names."""
    return any(url == other or url.startswith(f"{other.rstrip('/')}/") for other in others)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: the scope of a credential."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def server_in(url: str) -> str:
    """The server of a URL, for messages: its host, and its port where the URL has one."""
    return urlsplit(redacted(url)).netloc


def credentials(url: str) -> tuple[bytes, bytes] | None:
    """User name and password in a URL, without their percent codes (RFC 3986, section 3.2.1); None for none."""
    parts: SplitResult = urlsplit(url)
    if parts.username is None:
        return None
    return unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")


def _host(host: str) -> str:
    host = host.rstrip(".").lower()
    if ":" in host:
        return f"[{host}]"
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _advice(scheme: str) -> str | None:
    return "Give the https: URL of the same object." if scheme in ("s3", "gs", "gcs") else None
