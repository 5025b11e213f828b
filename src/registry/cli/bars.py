"""The bar that long work shows on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


@contextmanager
def bar(doing: str, total: int | None, unit: str) -> Iterator[Callable[[int], object]]:
    """A bar on stderr while the ``with`` block runs; yields what moves it on by a number of ``unit``."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Amount(unit),
        Rate(unit),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    with shown:
        task = shown.add_task(doing, total=total)
        yield lambda number: shown.advance(task, number)


class Amount(ProgressColumn):
    """How much is done, and of how much."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """``120/500 texts``."""
        numbers = (task.completed,) if task.total is None else (task.completed, task.total)
        if self._unit == "bytes":
            return Text("/".join(decimal(int(number)) for number in numbers))
        return Text(f"{'/'.join(f'{int(number):,}' for number in numbers)} {self._unit}")


class Rate(ProgressColumn):
    """How much is done in a second; empty until that is known."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """``40 texts/s``."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        if self._unit == "bytes":
            return Text(f"{decimal(int(speed))}/s", style="cyan")
        return Text(f"{speed:,.0f} {self._unit}/s" if speed >= 10 else f"{speed:.1f} {self._unit}/s", style="cyan")
