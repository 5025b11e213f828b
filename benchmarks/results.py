"""The measurements of a benchmark, printed for a reader and kept for ``run.py``.

A benchmark calls ``row`` for each number that it prints.  ``run.py`` names a file in the variable BENCHMARK_RESULTS, to
which rows are appended; without the variable they are printed only.
"""

import json
import os
from pathlib import Path


def row(name: str, value: float, unit: str, *, ratio: float | None = None, peer: str = "transformers") -> None:
    """Keep a measurement.

    Args:
        name: What was measured; the same in every run.
        value: The number.
        unit: Its unit: ``"ms"``, ``"s"``, ``"MB"``, or a rate, such as ``"tokens/s"``.
        ratio: How many times better than the peer, measured in the same run; None without a peer.
        peer: The peer.
    """
    path = os.environ.get("BENCHMARK_RESULTS")
    if path:
        found = {"name": name, "value": value, "unit": unit, "ratio": ratio, "peer": None if ratio is None else peer}
        with Path(path).open("a") as file:
            file.write(json.dumps(found) + "\n")
