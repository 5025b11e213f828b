"""What the examples say while they work, and the losses as a CSV file and as a picture."""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from registry.pages.curves import write_curves

SECONDS = 10.0
"""Seconds between two lines about the progress, where stderr is not a terminal."""


def say(message: str) -> None:
    """Print a line on stderr, at once."""
    print(message, file=sys.stderr, flush=True)


class Pause:
    """Some seconds, again and again."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, time.monotonic()

    def over(self) -> bool:
        """Whether so many seconds passed since this was last true."""
        if time.monotonic() - self.last <= self.seconds:
            return False
        self.last = time.monotonic()
        return True


@contextmanager
def showing(done: int, steps: int) -> Iterator[Callable[[float], None]]:
    """Show the progress of training: a bar on a terminal, else a line every ten seconds.

    Args:
        done: Steps that were done before.
        steps: All steps.

    Yields:
        A function to call with the loss of each step.
    """
    pause, step = Pause(SECONDS), done
    with tqdm(total=steps, initial=done, unit="step", disable=None) as bar:

        def show(loss: float) -> None:
            nonlocal step
            step += 1
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if bar.disable and pause.over():
                say(f"Step {step} of {steps}, loss {loss:.3f}")

        yield show


class Log:
    """``log.csv``: for each step its loss, and the mean loss on held-out batches where that was computed."""

    NAME, PICTURE = "log.csv", "curve.svg"

    def __init__(self, directory: Path, step: int) -> None:
        """Continue the log of a directory after a step; lines of later steps, which will be done again, are dropped."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.path = directory, directory / self.NAME
        kept = []
        if step and self.path.is_file():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= step]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([("step", "loss", "validation"), *kept])

    def add(self, step: int, loss: float, validation: float | None) -> None:
        """Add a line."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow((step, f"{loss:.6g}", "" if validation is None else f"{validation:.6g}"))

    def draw(self, title: str) -> Path:
        """Draw the losses as ``curve.svg``."""
        return write_curves(self.path, self.directory / self.PICTURE, title)
