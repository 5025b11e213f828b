"""Which failures of a download may pass, and when a request is sent again."""

import logging
import random
import time
from collections.abc import Mapping

from attrs import define

from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    NotCachedError,
)

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

sleep = time.sleep


def is_transient(problem: FetchError) -> bool:
    """Whether the same request may succeed later: it is sent again, and then what is in the cache does."""
    if isinstance(problem, HTTPStatusError):
        return problem.status in RETRIED_STATUSES
    return isinstance(problem, tuple(TRIES))


@define
class Retries:
    """The attempts of one download."""

    failures: int = 0
    """Attempts without progress, since the last one that made some."""

    def wait(self, problem: FetchError, received: int) -> None:
        """Wait until the next attempt is due.

        Args:
            problem: The error in which an attempt ended.
            received: Bytes that it brought.

        Raises:
            FetchError: The problem itself, when another attempt makes no sense.
        """
        self.failures = 1 if received >= PROGRESS else self.failures + 1
        pause = min(LONGEST_PAUSE, 0.5 * 2**self.failures) * random.uniform(0.5, 1)  # noqa: S311  # spreads a herd
        if isinstance(problem, HTTPStatusError) and problem.retry_after is not None:
            pause = problem.retry_after
        tries = next((tries for kind, tries in TRIES.items() if isinstance(problem, kind)), 1)
        if not is_transient(problem) or self.failures >= tries or pause > LONGEST_WAIT:
            raise problem
        log.info("%s; trying again in %.1f s", problem.message, pause)
        sleep(pause)
