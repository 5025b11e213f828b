"""The cost of reading the pickle of a checkpoint before torch does: a .bin of 440 MB with 400 tensors.

Next to it: torch reading (mapping) the file, and comparing all bytes with their checksums, which loading does as well
and torch does not.

Usage: python benchmarks/prescan.py [--rounds N]
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

from registry.weights.torch import archive, reader
from results import row

TENSORS, NUMBERS = 400, 275_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pytorch_model.bin")
        torch.save(
            {f"encoder.layer.{n // 16}.part_{n % 16}.weight": torch.randn(NUMBERS) for n in range(TENSORS)}, path
        )
        print(f"{path.stat().st_size / 1e6:.0f} MB, {TENSORS} tensors; medians of {rounds} rounds")
        for what, measured, aim in (
            ("pre-scan", lambda: scan(path), "(aim: < 20 ms)"),
            ("checksums", lambda: sums(path), ""),
            ("torch.load, mapped", lambda: torch.load(path, weights_only=True, mmap=True), ""),
            ("all of it", lambda: reader.read(path), ""),
        ):
            milliseconds = median(measured, rounds) * 1e3
            row(f"a .bin of 440 MB, {what}", milliseconds, "ms")
            print(f"{what:20} {milliseconds:7.1f} ms  {aim}")


def scan(path: Path) -> None:
    with path.open("rb") as file:
        reader.announced_headers(file, str(path))


def sums(path: Path) -> None:
    with path.open("rb") as file:
        archive.check_sums(file, str(path))


def median(measured: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = perf_counter()
        measured()
        times.append(perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
