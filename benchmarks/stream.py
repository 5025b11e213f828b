"""Tokenizers on a long stream of words with a tail that never comes again: the rate of each ten megabytes.

    python benchmarks/stream.py --shared ../shared

A cache that is emptied when it is full would show as a rate that falls.  Printed are the rates of BERT's and of GPT-2's
tokenizer, first and last and slowest; those after the first ten megabytes should be one another's.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from results import row
from texts import zipf_words

PART = 10_000_000
"""Characters between two rates."""
WORDS = 400
"""Of a document."""


def parts(count: int) -> Iterator[list[str]]:
    """The stream, in parts of documents."""
    words = zipf_words(seed=0)
    for _ in range(count):
        documents: list[str] = []
        size = 0
        while size < PART:
            documents.append(" ".join(islice(words, WORDS)))
            size += len(documents[-1])
        yield documents


def rate(encode: Callable[[str], Any], documents: list[str]) -> float:
    """Megabytes a second."""
    start = time.process_time()
    for document in documents:
        encode(document)
    return sum(map(len, documents)) / 1e6 / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared")
    parser.add_argument("--megabytes", type=int, default=100)
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    encoders = {
        "BERT's tokenizer": BertTokenizer(data / "bert" / "vocab.txt").encode,
        "GPT-2's tokenizer": GPT2Tokenizer(data / "gpt2" / "vocab.json").encode,
    }
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    for documents in parts(arguments.megabytes * 1_000_000 // PART):
        for name, encode in encoders.items():
            rates[name].append(rate(encode, documents))
    for name, (first, *others) in rates.items():
        row(f"{name}, Zipf tail", median(others), "MB/s")
        row(f"{name}, Zipf tail, slowest", min(others), "MB/s")
        print(f"{name:20}{first:6.1f} MB/s, then {median(others):.1f}, at the slowest {min(others):.1f}")


if __name__ == "__main__":
    main()
