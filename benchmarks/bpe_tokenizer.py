"""GPT-2's tokenizer against transformers' GPT2TokenizerFast (batches) and tiktoken (one text after the other).

    python benchmarks/bpe_tokenizer.py --shared ../shared

A round makes the tokenizers again and runs each twice over all texts, in turn; printed are medians of all rounds.  The
first pass fills the cache of chunks, later ones use it.  Ids are compared in every round.  Seconds are those of the
processor, of all threads together: rates are of one core, and other programs change them little.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import tiktoken
from transformers import GPT2TokenizerFast

from plugins.gpt2.tokenization import END_OF_TEXT, GPT2Tokenizer
from registry.tokenization.byte_level import BYTES
from results import row
from texts import KINDS, documents_of, text_of

DOCUMENTS = 32
"""In a batch."""
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
"""Finds words, as ``tiktoken_ext.openai_public`` has it."""
LOADING = """
import time
start = time.perf_counter()
from plugins.gpt2.tokenization import GPT2Tokenizer
GPT2Tokenizer({path!r})
print(time.perf_counter() - start)
"""


def tiktoken_of(vocab: Path) -> tiktoken.Encoding:
    """A tiktoken encoding with the tokens and ids of a ``vocab.json``."""
    ids = json.loads(vocab.read_text(encoding="utf-8"))
    special = {END_OF_TEXT: ids.pop(END_OF_TEXT)}
    ranks = {bytes(map(BYTES.__getitem__, token)): number for token, number in ids.items()}
    return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)


def in_batches(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    starts = range(0, len(texts), DOCUMENTS)
    return [row for start in starts for row in tokenizer(texts[start : start + DOCUMENTS])["input_ids"]]


def one_by_one(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [tokenizer.encode(text) for text in texts]


Contestant = tuple[Callable[[], Any], Callable[[Any, list[str]], list[list[int]]]]


def rounds(ours: Contestant, theirs: Contestant, texts: list[str], count: int) -> list[tuple[float, float]]:
    """Median seconds of ours and theirs, for the first and the second pass."""
    seconds: dict[tuple[int, str], list[float]] = {}
    for _ in range(count):
        found = {}
        for who, (make, encode) in (("ours", ours), ("theirs", theirs)):
            tokenizer = make()
            for turn in (0, 1):
                start = time.process_time()
                ids = encode(tokenizer, texts)
                seconds.setdefault((turn, who), []).append(time.process_time() - start)
                found[who] = ids  # frees those of an earlier pass, which is not part of this one
        if found["ours"] != found["theirs"]:
            sys.exit("The ids differ.")
    return [(median(seconds[turn, "ours"]), median(seconds[turn, "theirs"])) for turn in (0, 1)]


def load_seconds(path: Path) -> float:
    """Seconds from the start of a fresh process's first import to a tokenizer that is ready."""
    code = LOADING.format(path=str(path))
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    vocab, merges = data / "gpt2" / "vocab.json", data / "gpt2" / "merges.txt"

    print(f"{'':36}{'ours':>12}{'theirs':>12}{'ratio':>8}")
    for name in KINDS:
        text = text_of(name, arguments.shared)
        texts, size = documents_of(text), len(text.encode()) / 1e6
        for peer, make, encode in (
            ("transformers", lambda: GPT2TokenizerFast(vocab=str(vocab), merges=str(merges)), in_batches),
            ("tiktoken", lambda: tiktoken_of(vocab), one_by_one),
        ):
            encode(make(), texts[:DOCUMENTS])
            passes = rounds((lambda: GPT2Tokenizer(vocab), encode), (make, encode), texts, arguments.rounds)
            for label, (ours, theirs) in zip(("first pass", "after it"), passes, strict=True):
                row(f"GPT-2's tokenizer, {name}, {label}", size / ours, "MB/s", ratio=theirs / ours, peer=peer)
                print(
                    f"{f'{name}, {peer}, {label}':36}{size / ours:7.1f} MB/s{size / theirs:7.1f} MB/s"
                    f"{theirs / ours:7.2f}x"
                )
    load = median(load_seconds(vocab) for _ in range(arguments.rounds))
    row("GPT-2's tokenizer, load", load * 1e3, "ms")
    print(f"{'load, fresh process':36}{load * 1e3:9.1f} ms")


if __name__ == "__main__":
    main()
