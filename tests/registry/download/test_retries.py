"""Which failures pass, and how long they are waited for."""

import pytest

from registry.download import retries
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


def attempts(problem: FetchError, received: int = 0, *, patient: bool = True) -> int:
    """The attempts that end in this problem, until it is raised."""
    made = Retries("https://example.org/x", patient)
    for number in range(1, 100):
        try:
            made.wait(problem, received)
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
        (FetchError("what is not HTTP"), 1),
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


def test_without_patience_only_progress_is_followed_by_another_attempt(naps: list[float]) -> None:
    cut = IncompleteDownloadError("cut", got=1, expected=2)
    assert [attempts(problem, patient=False) for problem in (status(503), NotCachedError("unreachable"), cut)] == [
        1
    ] * 3
    assert naps == []
    assert attempts(cut, received=PROGRESS, patient=False) == 100


def test_a_pause_that_a_server_asks_for_counts_for_all_its_downloads_and_for_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = Retries("https://example.org/a"), Retries("https://example.org/b")
    other = Retries("https://example.org:8443/a")
    waited: list[tuple[str, float]] = []

    def sleep(seconds: float) -> None:
        waited.append(("first", seconds))
        monkeypatch.setattr(retries, "sleep", lambda seconds: waited.append(("another", seconds)))
        second.await_turn()
        other.await_turn()

    monkeypatch.setattr(retries, "sleep", sleep)
    first.wait(status(429, retry_after=20), 0)
    assert [who for who, _ in waited] == ["first", "another"]
    assert waited[0][1] == 20
    assert 19 < waited[1][1] <= 20
    second.await_turn()
    assert len(waited) == 2, "the pause is over"
