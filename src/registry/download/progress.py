"""The progress bar of everything that takes long: downloads, conversions, commands, corpora."""

import sys
from contextlib import suppress
from shutil import get_terminal_size
from types import TracebackType
from typing import Any, Self


class ProgressBar:
    """A progress bar on stderr, which can never stop the work that it shows.

    Args:
        label: What is being done, or the name of the file.
        total: How much there is to do; None where that is not known.
        unit: Plural noun of what is counted; ``"bytes"`` are shown as sizes.
        done: How much is done already.
        shown: Whether there is a bar; None shows one on a terminal.
        leave: Whether the bar stays when the work is done.

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
    ) -> None:
        self._bar: Any = None
        with suppress(Exception):  # a closed or strange stderr is no reason to go without a model
            if shown or (shown is None and sys.stderr.isatty()):
                from tqdm import tqdm

                form: dict[str, Any] = {"unit": "B", "unit_scale": True} if unit == "bytes" else {"unit": f" {unit}"}
                form["ncols"], form["nrows"] = get_terminal_size()  # tqdm itself believes terminals of size 0
                self._bar = tqdm(desc=label, total=total, initial=done, leave=leave, file=sys.stderr, **form)

    def advance(self, number: int = 1) -> None:
        """Show that ``number`` more are done."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.update(number)

    def advance_to(self, done: int) -> None:
        """Show that ``done`` are done in all."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
