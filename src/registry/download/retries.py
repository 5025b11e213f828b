"""Which failures of a download may pass: when a request is sent again, and when another server is asked."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from attrs import define, field

from registry.download import together
from registry.download.policy import Policy
from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    NotCachedError,
)
from registry.files.urls import origin

T = TypeVar("T")

log = logging.getLogger("registry")

RETRIED_STATUSES = frozenset([408, 425, 429, 500, 502, 503, 504, *range(520, 527)])
"""HTTP statuses that may be other ones soon; 520 to 526 are what CDNs send when the server behind them fails."""

TRIES: Mapping[type[FetchError], int] = {
    HTTPStatusError: 5,
    IncompleteDownloadError: 5,
    DownloadTimeoutError: 2,
    NotCachedError: 3,
}
"""Attempts without progress, by what went wrong; after all other errors there is but one."""

LONGEST_WAIT = 60.0
"""Seconds that a server may make us wait (Retry-After) before the request counts as refused."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts, where the server does not say."""
PROGRESS = 64 * 1024
"""Bytes that an attempt must bring to count as progress."""

now = time.monotonic


def sleep(seconds: float) -> None:
    """Wait, unless the download is no longer wanted."""
    if not together.pause(seconds):
        time.sleep(seconds)


_until: dict[tuple[str, str, int | None], float] = {}
"""Servers that asked for a pause (Retry-After), and when it ends; it counts for all downloads from there."""


def is_transient(problem: FetchError) -> bool:
    """Whether the same request may succeed later: it is sent again, and then what is in the cache does."""
    if isinstance(problem, HTTPStatusError):
        return problem.status in RETRIED_STATUSES
    return isinstance(problem, tuple(TRIES))


@define
class Retries:
    """The attempts of one download.

    Args:
        url: The URL that is requested first.
        patient: Whether a server in trouble is waited for; without patience, only an attempt that made progress is
            followed by another, since the same file is on another server, too.
    """

    _server: tuple[str, str, int | None] = field(converter=origin, alias="url")
    patient: bool = True
    failures: int = field(default=0, init=False)
    """Attempts without progress, since the last one that made some."""

    def await_turn(self) -> None:
        """Wait for the end of the pause for which the server asked another download."""
        left = _until.get(self._server, 0.0) - now()
        if left > 0:
            sleep(min(left, LONGEST_WAIT))

    def wait(self, problem: FetchError, received: int) -> None:
        """Wait until the next attempt is due.

        Args:
            problem: The error in which an attempt ended.
            received: Bytes that it brought.

        Raises:
            FetchError: The problem itself, when another attempt cannot help.
        """
        together.check_wanted()
        self.failures = 1 if received >= PROGRESS else self.failures + 1
        pause = min(LONGEST_PAUSE, 0.5 * 2**self.failures) * random.uniform(0.5, 1)  # noqa: S311  # spreads a herd
        asked = problem.retry_after if isinstance(problem, HTTPStatusError) else None
        pause = pause if asked is None else asked
        tries = next((tries for kind, tries in TRIES.items() if isinstance(problem, kind)), 1)
        if not self.patient:
            tries = 2 if received >= PROGRESS else 1
        if not is_transient(problem) or self.failures >= tries or pause > LONGEST_WAIT:
            raise problem
        log.info("%s; trying again in %.1f s", problem.message, pause)
        if asked is not None:
            _until[self._server] = until = now() + pause
        sleep(pause)
        if asked is not None and _until.get(self._server) == until:
            del _until[self._server]


@define
class Mirrors:
    """The servers of one model: each is asked once before one of them is waited for, those in trouble last."""

    policy: Policy
    _troubled: set[object] = field(factory=set, init=False)

    def first(self, urls: Iterable[str], fetch: Callable[[str, bool], T], failures: list[FetchError]) -> T | None:
        """The result for the first URL that has one; servers in trouble are waited for when no other has.

        Args:
            urls: The URLs, the preferred first.
            fetch: Called with a URL, and whether a server in trouble is waited for.
            failures: Gets what went wrong: the last error of each URL, when there is no result.

        Returns:
            What ``fetch`` returns; None where it raised FetchError for every URL.
        """
        left = sorted(urls, key=lambda url: origin(url) in self._troubled)
        problems: dict[str, FetchError] = {}
        for patient in (False, True) if len(left) > 1 and not self.policy.is_offline else (True,):
            for url in left:
                try:
                    return fetch(url, patient)
                except FetchError as problem:
                    problems[url] = problem
                    if is_transient(problem):
                        self._troubled.add(origin(url))
            left = [url for url in left if is_transient(problems[url])]
        failures.extend(problems.values())
        return None
