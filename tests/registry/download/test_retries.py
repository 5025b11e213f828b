"""Which failures pass, and how long they are waited for."""

import pytest

from registry.download.retries import PROGRESS, RETRIED_STATUSES, Retries, is_transient
from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    IntegrityError,
    NotCachedError,
    UnsafeURLError,
)


def status(number: int, retry_after: float | None = None) -> HTTPStatusError:
    return HTTPStatusError("refused", status=number, retry_after=retry_after)


def attempts(problem: FetchError, received: int = 0) -> int:
    """The attempts that end in this problem, until it is raised."""
    retries = Retries()
    for number in range(1, 100):
        try:
            retries.wait(problem, received)
        except FetchError as raised:
            if raised is problem:
                return number
            raise
    return 100


def test_statuses_of_servers_and_cdns_in_trouble_pass() -> None:
    passing = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526}
    assert passing == RETRIED_STATUSES
    assert {number for number in range(400, 600) if is_transient(status(number))} == passing


@pytest.mark.parametrize(
    ("problem", "number"),
    [
        (status(503), 5),
        (status(520), 5),
        (status(404), 1),
        (status(501), 1),
        (status(503, retry_after=3600), 1),
        (IncompleteDownloadError("cut", got=1, expected=2), 5),
        (DownloadTimeoutError("stalled"), 2),
        (NotCachedError("unreachable"), 3),
        (IntegrityError("other bytes"), 1),
        (UnsafeURLError("no"), 1),
        (FetchError("what is no HTTP"), 1),
    ],
)
def test_a_failure_is_tried_again_as_often_as_makes_sense(problem: FetchError, number: int, naps) -> None:
    assert attempts(problem) == number
    assert len(naps) == number - 1
    assert is_transient(problem) == (number > 1 or problem.__dict__.get("retry_after") is not None)


def test_an_attempt_that_made_progress_counts_as_the_first(naps: list[float]) -> None:
    problem = IncompleteDownloadError("cut", got=1, expected=2)
    assert attempts(problem, received=PROGRESS) == 100
    assert all(0.5 <= nap <= 1 for nap in naps)
    assert attempts(problem, received=PROGRESS - 1) == 5
