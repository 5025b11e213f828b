"""The error for files of a card that are not available."""

from collections.abc import Collection

from registry.cache.directories import NOWHERE
from registry.download.policy import Policy
from registry.errors import FetchError, HTTPStatusError, IntegrityError, MissingFileError, NotCachedError
from registry.files.urls import WEB, redacted
from registry.records import Card, FileSpec
from registry.sources.packages import install_command


def files_missing(
    source: str, card: Card, missing: list[list[FileSpec]], policy: Policy, failures: list[FetchError]
) -> FetchError:
    """The error that names the files, where they were looked for, and how to get them.

    Args:
        source: The model, as a noun phrase.
        card: Its card.
        missing: The files that are not on this disk, those of one role together.
        policy: How they were fetched.
        failures: What went wrong.
    """
    names = [" or ".join(dict.fromkeys(file.filename for file in files)) for files in missing] or ["the whole archive"]
    urls = [*(url for files in missing for file in files for url in file.urls), *card.archives]
    web = any(url.startswith(WEB) for url in urls)
    offline = web and policy.is_offline
    error = _class_of(failures, offline=offline)(
        f"{source} is known, but not all of its files are on this disk: "
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing.",
        hint="\n".join(
            [
                f"Looked for: {', '.join(map(redacted, urls)) or 'nothing, since its card lists no URLs'}.",
                *([] if policy.is_offline else [problem.message for problem in failures]),
                *([f"The cache is {policy.cache.directory}."] if web and policy.cache.directory != NOWHERE else []),
                *filter(None, [install_command(urls)]),
                *([_offline_hint(card)] if offline else []),
            ]
        ),
    )
    error.__cause__ = failures[0] if failures else None
    return error


def _class_of(failures: Collection[FetchError], *, offline: bool) -> type[FetchError]:
    """The most specific class that fits."""
    if offline:
        return NotCachedError
    specific: tuple[type[FetchError], ...] = (IntegrityError, NotCachedError)
    found = [kind for kind in specific if any(isinstance(problem, kind) for problem in failures)]
    refused = all(isinstance(problem, HTTPStatusError) for problem in failures)
    return found[0] if found else MissingFileError if refused else FetchError


def _offline_hint(card: Card) -> str:
    return (
        f"Offline nothing is fetched. Where there is a network, `registry pull {card.name}` fills the cache, which may "
        f"then be copied here."
    )
