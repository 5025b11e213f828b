"""What to do about a file that no server sent: the last line of an error, by what went wrong.

An error of the network has three lines: what could not be reached, what was wanted, and what to do.  All URLs and the
causes are its ``details``.
"""

from collections.abc import Iterable

from registry.errors import FetchError
from registry.files.environment import flag
from registry.files.urls import server_in
from registry.formatting import enumeration

NETWORK = "Check the network. HTTPS_PROXY sets a proxy, HF_ENDPOINT a mirror of the hub."
PROXIES = "The variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used."
AUTHENTICATION = "One that wants a password has it in its URL: http://user:password@host:port."
CERTIFICATES = (
    "If the server, or a proxy on the way, is your own, name its certificates in REQUESTS_CA_BUNDLE or SSL_CERT_FILE. "
    "Certificates are always verified."
)
LOGIN = "a token in the variable HF_TOKEN, or stored by `hf auth login`."
HIDDEN = (
    "The hub gives this answer for names that do not exist, too: check the spelling. A private or gated repository "
    f"needs {LOGIN}"
)
ACCOUNT = (
    "A user name and a password can be part of the URL (https://user:password@host/...), special characters as percent "
    "codes: %40 for @."
)

OFFLINE = ("REGISTRY_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables of which each forbids every connection."""


def elsewhere(name: str) -> str:
    """Where else a model can be downloaded."""
    return f"Where there is a network, `registry pull {name}` fills a cache that can be copied here."


def forbidden() -> str:
    """What forbids downloads: a variable, or the argument."""
    return next((f"the variable {name}" for name in OFFLINE if flag(name)), "offline=True")


def wanted(what: str, advice: str | None) -> str:
    """The second and the third line."""
    return f"Wanted: {what}." if advice is None else f"Wanted: {what}.\n{advice}"


def summary(failures: Iterable[FetchError]) -> str | None:
    """Which servers failed and how, as one sentence; None where a failure is not that of a server.

    Example: ``huggingface.co and s3.amazonaws.com cannot be reached (name not known).``
    """
    servers: dict[str, list[str]] = {}
    for problem in failures:
        if problem.url is None or problem.reason is None:
            return None
        names = servers.setdefault(problem.reason, [])
        if (name := server_in(problem.url)) not in names:
            names.append(name)
    clauses = [
        f"{enumeration(names)} {reason if len(names) == 1 else reason.replace('answers', 'answer', 1)}"
        for reason, names in servers.items()
    ]
    return f"{'; '.join(clauses)}." if clauses else None
