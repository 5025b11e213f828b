"""The error for files of a card that are not available."""

from collections.abc import Collection

from registry.cache.directories import NOWHERE
from registry.download.advice import NETWORK, elsewhere, forbidden, summary, wanted
from registry.download.policy import Policy
from registry.errors import FetchError, HTTPStatusError, IntegrityError, MissingFileError, NotCachedError
from registry.files.urls import WEB, redacted
from registry.records import Card, FileSpec
from registry.sources.packages import install_command


def files_missing(
    source: str, card: Card, missing: list[list[FileSpec]], policy: Policy, failures: list[FetchError]
) -> FetchError:
    """The error that says what failed, which files are wanted, and how to get them; its details list all URLs.

    Args:
        source: The model, as a noun phrase.
        card: Its card.
        missing: The files that are not on this disk, those of one role together.
        policy: How they were fetched.
        failures: What went wrong.
    """
    names = [" or ".join(dict.fromkeys(file.filename for file in files)) for files in missing] or [
        "files" if card.files else "the archive"
    ]
    urls = [*(url for files in missing for file in files for url in file.urls), *card.archives]
    web = any(url.startswith(WEB) for url in urls)
    offline = web and policy.is_offline
    if offline:
        message = f"{source} is not completely in the cache, and {forbidden()} forbids downloads."
    else:
        message = summary(failures) or (failures[0].message if failures else f"{source} is not on this computer.")
    install = install_command(urls)
    advice = " ".join(filter(None, [install, _advice(card, failures, offline=offline) if web else None]))
    error = _class_of(failures, offline=offline)(
        message, hint=wanted(f"{', '.join(names)} of {source}", advice or f"{_tried(urls)} Install or copy them there.")
    )
    error.details = "\n".join(
        [
            _tried(urls),
            *([] if policy.is_offline else [problem.details or problem.message for problem in failures]),
            *([f"The cache is {policy.cache.directory}."] if web and policy.cache.directory != NOWHERE else []),
        ]
    )
    error.__cause__ = failures[0] if failures else None
    return error


def _tried(urls: Collection[str]) -> str:
    return f"Tried: {', '.join(map(redacted, urls)) or 'nothing, since its card lists no URLs'}."


def _class_of(failures: Collection[FetchError], *, offline: bool) -> type[FetchError]:
    """The most specific class that fits."""
    if offline:
        return NotCachedError
    specific: tuple[type[FetchError], ...] = (IntegrityError, NotCachedError)
    found = [kind for kind in specific if any(isinstance(problem, kind) for problem in failures)]
    refused = all(isinstance(problem, HTTPStatusError) for problem in failures)
    return found[0] if found else MissingFileError if refused else FetchError


def _advice(card: Card, failures: Collection[FetchError], *, offline: bool) -> str:
    """What to do: what the first failure that has advice of its own says, else about the network."""
    if offline:
        return elsewhere(card.name)
    if all(isinstance(problem, NotCachedError) for problem in failures):
        return f"{NETWORK} {elsewhere(card.name)}"
    own = (problem.hint for problem in failures if problem.hint and not isinstance(problem, NotCachedError))
    return next(own, elsewhere(card.name)).rpartition("\n")[2]
