"""What processes that share a model read, hold, write and wait for, beside their shares and beside one process.

    python benchmarks/ranks.py            # GPT-2-medium's shape with random weights, 1.4 GB: some minutes
    python benchmarks/ranks.py --tiny     # that it runs

Memory is what is not a mapped file, above that before loading.  Bytes from the disk are those of one process of four,
which alone loads a copy whose pages the kernel was told to drop; the others load another copy.  The directory must be
on a disk.  Times are of processes that have imported everything, once the file is in the page cache.
"""

import argparse
import filecmp
import shutil
import tempfile
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch

import registry
from registry.testing.ranks import RankPool
from results import row

if TYPE_CHECKING:
    from collections.abc import Callable

ON_RANKS = str(Path(__file__).with_name("on_ranks.py"))
MEGA = 1e6
WEIGHTS = "model.safetensors"
SAVED = {"safetensors": f"model/{WEIGHTS}", "torch": "torch/pytorch_model.bin"}
"""Formats in which a model is saved, and the file that one process wrote of each."""
MEDIUM = {"n_embd": 1024, "n_layer": 24, "n_head": 16}
TINY = {"n_embd": 256, "n_layer": 2, "n_head": 4, "vocab_size": 9999}
CASES = [(way, dtype) for way in ("fsdp", "tp") for dtype in ("float32", "bfloat16")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small shape, whose figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5, help="loads of which the median time is printed")
    parser.add_argument("--only", choices=("memory", "times", "saving", "disk"), help="measure this alone")
    parser.add_argument("--directory", type=Path, help="where to write, on a disk; a temporary directory by default")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.directory) as temporary:
        directory = Path(temporary)
        size = write(directory / "model", TINY if chosen.tiny else MEDIUM)
        print(f"{size / MEGA:,.0f} MB of weights")
        parts: dict[str, Callable[[], None]] = {
            "memory": lambda: memory(two, directory),
            "times": lambda: times(one, two, directory, chosen.rounds),
            "saving": lambda: saving(two, directory),
            "disk": lambda: disk(four, directory),
        }
        one, two, four = RankPool(1), RankPool(2), RankPool(4)
        try:
            for name in [chosen.only] if chosen.only else parts:
                parts[name]()
        finally:
            for ranks in (one, two, four):
                ranks.close()


def write(directory: Path, sizes: dict[str, int]) -> int:
    """Write a GPT-2 with random weights; return the bytes of its weights."""
    from registry.zoo import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    registry.save(model, directory)
    return (directory / WEIGHTS).stat().st_size


# --- What is printed --------------------------------------------------------------------------------------------------


def memory(two: RankPool, directory: Path) -> None:
    """Bytes that each process takes out of the file, and its memory."""
    for way, dtype in CASES:
        for rank, found in enumerate(two.run(f"{ON_RANKS}:load", str(directory / "model"), way, dtype)):
            most = 1.15 * found.share + 60 * MEGA
            print(
                f"{way} 2, {dtype}, rank {rank}: share {found.share / MEGA:,.1f} MB, takes "
                f"{found.taken / found.elements / 4:.3f} of it, peak own memory {found.peak / MEGA:,.1f} MB "
                f"(at most {most / MEGA:,.1f})"
            )
            row(f"{way} 2, {dtype}, rank {rank}, bytes taken to share", found.taken / found.elements / 4, "x")
            row(f"{way} 2, {dtype}, rank {rank}, peak own memory", found.peak / MEGA, "MB")


def times(one: RankPool, two: RankPool, directory: Path, rounds: int) -> None:
    """Seconds of loading on two processes, and on one; all values are read once."""
    arguments = (f"{ON_RANKS}:load", str(directory / "model"))
    for way in ("fsdp", "tp"):
        alone, shared = [], []
        for _ in range(rounds + 1):  # the first one warms up
            alone.append(one.run(*arguments, None, "float32")[0])
            shared.append(max(two.run(*arguments, way, "float32"), key=lambda found: found.read))
        for what in ("loaded", "read", "cpu"):
            ours, theirs = (median(getattr(found, what) for found in each[1:]) for each in (shared, alone))
            print(f"{way} 2, {what}: {ours:.2f} s, one process {theirs:.2f} s, {ours / theirs:.2f}x")
            row(f"{way} 2, seconds until {what}", ours, "s", ratio=theirs / ours, peer="one process")


def saving(two: RankPool, directory: Path) -> None:
    """Whether two processes write what one does, and the memory for it."""
    largest = max(tensor.nbytes for tensor in registry.load_model(directory / "model").parameters())
    registry.save(registry.load_model(directory / "model"), directory / "torch", format="torch")
    for way, (format, alone) in product(("fsdp", "tp"), SAVED.items()):
        saved = directory / "saved"
        peaks = two.run(f"{ON_RANKS}:save", str(directory / "model"), way, str(saved), format)
        for rank, peak in enumerate(peaks):
            print(
                f"{way} 2, saving as {format}, rank {rank}: {peak / MEGA:,.1f} MB more than before, "
                f"{peak / largest:.2f} largest tensors"
            )
            row(f"{way} 2, {format}, rank {rank}, memory for saving to largest tensor", peak / largest, "x")
        equal = filecmp.cmp(directory / alone, saved / Path(alone).name, shallow=False)
        print(f"{way} 2, saving as {format}: {'bit-equal' if equal else 'OTHER BYTES'}")
        row(f"{way} 2, {format}, bit-equal", equal, "")
        shutil.rmtree(saved)


def disk(ranks: RankPool, directory: Path) -> None:
    """Bytes that one process of several makes the kernel read from the disk."""
    copy = directory / "copy"
    shutil.copytree(directory / "model", copy)
    for way in ("fsdp", "tp"):
        found = ranks.run(f"{ON_RANKS}:cold", str(directory / "model"), str(copy), way)[1]
        print(
            f"{way} {ranks.number}, one rank alone, nothing cached: share {found['share'] / MEGA:,.1f} MB; in the page "
            f"cache {found['cached'] / found['share']:.3f} of it, from the disk {found['disk'] / found['share']:.3f}; "
            f"{found['loaded']:.2f} s, with all values read {found['read']:.2f} s"
        )
        row(f"{way} {ranks.number}, bytes from the disk to share", found["cached"] / found["share"], "x")
        row(f"{way} {ranks.number}, seconds without cached pages", found["read"], "s")


if __name__ == "__main__":
    main()
