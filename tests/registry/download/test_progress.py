"""The progress bar."""

import io
import sys

import pytest

from registry.download.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    def write(self, _text: str) -> int:
        raise OSError("gone")


def drawn(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **options: object) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBar("Counting", **{"total": 2000, "unit": "sheep", **options}) as bar:  # type: ignore[arg-type]
        bar.advance(500)
        bar.advance_to(2000)
    return stream.getvalue()


def test_a_bar_is_drawn_on_a_terminal_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, Terminal())
    assert "Counting" in text
    assert " sheep" in text
    assert text.rpartition("\r")[0].split("\r")[-1].strip() == "", "the line is blank at the end"


def test_a_bar_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, Terminal(), leave=True).endswith("\n")


def test_bytes_are_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "2.00k/2.00k" in drawn(monkeypatch, Terminal(), unit="bytes", leave=True)


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), False), (io.StringIO(), None)])
def test_no_bar_is_drawn_where_none_is_wanted(monkeypatch, stream: io.StringIO, shown: bool | None) -> None:
    assert drawn(monkeypatch, stream, shown=shown) == ""


def test_a_broken_stream_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, Broken()) == ""
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar("Counting", total=None, unit="sheep") as bar:
        bar.advance()
