"""Tokenizers over a file of lines: ``encode_files`` with two processes against one.

    python benchmarks/files.py --shared ../shared

The file is English prose, of which every copy has some words of its own.  Ids are compared; the time is that of the
clock, so that it needs a machine with two free cores.
"""

import argparse
import tempfile
from collections import deque
from collections.abc import Callable
from itertools import islice
from operator import eq
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from results import row
from texts import text_of

WORKERS = (1, 2)
COMPARED = 20_000
"""Lines whose ids are compared."""


def write(path: Path, shared: Path, megabytes: int) -> None:
    """A file of that many megabytes."""
    text = text_of("english", shared)
    with path.open("w", encoding="utf-8") as file:
        for number in range(1 + megabytes * 1_000_000 // len(text.encode())):
            file.write(text.replace(" the ", f" the{number} "))


def compare(name: str, make: Callable[[], Any], path: Path, rounds: int) -> None:
    """Megabytes a second with one process and with two, tokenizers and processes made again in every round."""
    size = path.stat().st_size / 1e6
    one, two = (islice(make().encode_files(path, workers=workers), COMPARED) for workers in WORKERS)
    assert all(map(eq, one, two)), "the ids differ"
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for turn in range(rounds):
        for workers in WORKERS if turn % 2 else WORKERS[::-1]:
            rows = make().encode_files(path, workers=workers)
            start = perf_counter()
            deque(rows, maxlen=0)
            seconds[workers].append(perf_counter() - start)
    ratio = median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
    row(f"{name}, lines of a file, two processes", size / median(seconds[2]), "MB/s", ratio=ratio, peer="one process")
    print(f"{name:20}{size / median(seconds[1]):6.1f} MB/s{size / median(seconds[2]):8.1f} MB/s{ratio:7.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=60)
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    print(f"{'':20}{'one':>11}{'two':>13}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lines.txt")
        write(path, arguments.shared, arguments.megabytes)
        compare("BERT's tokenizer", lambda: BertTokenizer(data / "bert" / "vocab.txt"), path, arguments.rounds)
        compare("GPT-2's tokenizer", lambda: GPT2Tokenizer(data / "gpt2" / "vocab.json"), path, arguments.rounds)


if __name__ == "__main__":
    main()
