"""A bar that shows how far a download is, and that can never stop it."""

import sys
from contextlib import suppress
from typing import Any


class Bar:
    """A bar on a terminal, or nothing: for ``wanted=None``, a bar is shown when stderr is a terminal."""

    def __init__(self, name: str, *, total: int | None, done: int, wanted: bool | None) -> None:
        self._bar: Any = None
        with suppress(Exception):  # a closed or strange stderr is no reason to go without a model
            if wanted or (wanted is None and sys.stderr.isatty()):
                from tqdm import tqdm

                self._bar = tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, file=sys.stderr)

    def at(self, done: int) -> None:
        """Show that ``done`` bytes are here."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.close()
