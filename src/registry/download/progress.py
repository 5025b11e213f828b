"""The progress bar of everything that takes long: downloads, conversions, commands, corpora."""

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from shutil import get_terminal_size
from types import TracebackType
from typing import Any, Self

from registry.files.environment import flag, variable
from registry.formatting import printable

SHOWN = "REGISTRY_PROGRESS"
"""The variable that shows progress bars (1) or hides them (0), wherever stderr goes."""


class ProgressBar:
    """A progress bar on stderr, which can never stop the work that it shows.

    Args:
        label: What is being done, or the name of the file.
        total: How much there is to do; None where that is not known.
        unit: Plural noun of what is counted; ``"bytes"`` are shown as sizes.
        done: How much is done already.
        shown: Whether there is a bar; for None the variable ``REGISTRY_PROGRESS`` decides, else a bar is shown on
            a terminal.
        leave: Whether the bar stays when the work is done.
        place: The other bars that are shown at the same time, and its order among them.

    Example::

        with ProgressBar("Embedding", total=len(texts), unit="texts") as bar:
            for batch in batches:
                ...
                bar.advance(len(batch))
    """

    def __init__(
        self,
        label: str,
        *,
        total: int | None,
        unit: str,
        done: int = 0,
        shown: bool | None = None,
        leave: bool = False,
        place: "tuple[OrderedBars, tuple[int, ...]] | None" = None,
    ) -> None:
        self._bar: Any = None
        self._place = place
        with self._harmless():
            if _is_shown() if shown is None else shown:
                form: dict[str, Any] = {"unit": "B", "unit_scale": True} if unit == "bytes" else {"unit": f" {unit}"}
                form["ncols"], form["nrows"] = get_terminal_size()  # tqdm itself believes terminals of size 0
                form |= {"desc": printable(label), "total": total, "initial": done, "leave": leave, "file": sys.stderr}
                form["miniters"] = 1
                self._bar = _bars()(**form) if place is None else place[0].new(place[1], form)

    def advance(self, number: int = 1) -> None:
        """Show that ``number`` more are done."""
        if self._bar is not None:
            with self._harmless():
                self._bar.update(number)

    def advance_to(self, done: int) -> None:
        """Show that ``done`` are done in all."""
        if self._bar is not None:
            with self._harmless():
                self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            with self._harmless():
                self._bar.close() if self._place is None else self._place[0].end(self._bar)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Go without the bar after any error: a closed or strange stderr is not a reason to go without a model."""
        try:
            yield
        except Exception:  # noqa: BLE001  # whatever a stream of the application raises
            self._bar = None
            _release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OrderedBars:
    """The bars of several works at once, below one another in the order of the works.

    A bar that has ended stays where it is until all that are above it, or may still come there, have ended too.
    """

    def __init__(self) -> None:
        self._unfinished: set[tuple[int, ...]] = set()
        self._bars: list[tuple[tuple[int, ...], Any]] = []
        self._ended: list[Any] = []

    def expect(self, orders: Iterable[tuple[int, ...]]) -> None:
        """Works of these orders will come; that of ``(1, 0)`` is a part of ``(1,)``."""
        self._unfinished.update(orders)

    def finish(self, order: tuple[int, ...]) -> None:
        """The work of this order has ended, and will show no other bar."""
        self._unfinished.discard(order)
        if self._bars:
            try:
                self._close_ended()
            except Exception:  # noqa: BLE001  # as of a single bar
                _release()

    def new(self, order: tuple[int, ...], form: dict[str, Any]) -> Any:
        """A bar of tqdm with these keywords, in its place among the others."""
        with _LOCK:
            rank = sum(other <= order for other, _ in self._bars)
            for _, bar in self._bars[rank:]:
                bar.clear(nolock=True)
                bar.pos -= 1  # tqdm counts fixed positions downwards
            bar = _bars()(position=rank, **form)
            self._bars.insert(rank, (order, bar))
            for _, below in self._bars[rank + 1 :]:
                below.refresh(nolock=True)
        return bar

    def end(self, bar: Any) -> None:
        """The bar shows no more progress."""
        self._ended.append(bar)
        self._close_ended()

    def _close_ended(self) -> None:
        with _LOCK:
            while self._bars and self._is_first(self._bars[0][0]) and self._bars[0][1] in self._ended:
                _, bar = self._bars.pop(0)
                self._ended.remove(bar)
                bar.close()  # it writes its last line, and the cursor goes to the next
                for _, below in self._bars:
                    below.pos += 1

    def _is_first(self, order: tuple[int, ...]) -> bool:
        """Whether no work that comes before this one is unfinished."""
        return not any(other < order and order[: len(other)] != other for other in tuple(self._unfinished))


def _is_shown() -> bool:
    """Whether bars are shown where the caller does not say."""
    return sys.stderr.isatty() if variable(SHOWN) is None else flag(SHOWN)


_LOCK = threading.RLock()


@cache
def _bars() -> Any:
    """The class of bars: that of tqdm, with a lock which an error of its stream does not leave locked."""
    from tqdm import tqdm

    own = {"monitor_interval": 0, "__del__": lambda _bar: None}  # nothing is drawn when a bar is collected
    found: Any = type("Bar", (tqdm,), own)
    found.set_lock(_LOCK)
    return found


def _release() -> None:
    """Release the lock, however often this thread holds it: tqdm does not when its stream raises."""
    with suppress(RuntimeError):
        while True:
            _LOCK.release()
