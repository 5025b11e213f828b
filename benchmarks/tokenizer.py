"""BERT's tokenizer against transformers' BertTokenizerFast: texts in, padded tensors out.

    python benchmarks/tokenizer.py --shared ../shared

Texts are of four kinds: prose, prose in many languages, source code, and tables of numbers.  A round makes both
tokenizers again and runs each twice over all texts, in turn; printed are medians of all rounds.  The first pass fills
the cache of chunks, later ones use it.  Ids are compared in every round.  Seconds are those of the processor, of all
threads together: rates are of one core, and other programs change them little.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from transformers import BertTokenizerFast

from plugins.bert.tokenization import BertTokenizer
from results import row
from texts import KINDS, documents_of, text_of

DOCUMENTS = 32
"""In a batch."""

LOADING = {
    "ours": "from plugins.bert.tokenization import BertTokenizer; BertTokenizer({path!r})",
    "theirs": "from transformers import BertTokenizerFast; BertTokenizerFast({path!r})",
}


def batches(text: str) -> list[list[str]]:
    documents = documents_of(text)
    return [documents[start : start + DOCUMENTS] for start in range(0, len(documents), DOCUMENTS)]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def passes(tokenizer: Any, texts: list[list[str]], count: int) -> tuple[list[float], Any]:
    """Seconds of each of ``count`` passes, and the batches of the last."""
    seconds = []
    for _ in range(count):
        spent, found = timed(lambda: [tokenizer(batch, padding=True, return_tensors="pt") for batch in texts])
        seconds.append(spent)
    return seconds, found


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(
        ours_batch[key].equal(theirs_batch[key])
        for ours_batch, theirs_batch in zip(ours, theirs, strict=True)
        for key in ("input_ids", "token_type_ids", "attention_mask")
    )


def load_seconds(code: str) -> float:
    """Seconds from the start of a fresh process's first import to a tokenizer that is ready."""
    timer = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", timer], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    vocab = str(data / "bert" / "vocab.txt")

    print(f"{'':24}{'ours':>12}{'theirs':>12}{'ratio':>8}")
    for name in KINDS:
        text = text_of(name, arguments.shared)
        texts, size = batches(text), len(text.encode()) / 1e6
        passes(BertTokenizerFast(vocab), texts[:1], 1)
        seconds: dict[str, list[list[float]]] = {"ours": [], "theirs": []}
        for _ in range(arguments.rounds):
            spent, ours = passes(BertTokenizer(vocab), texts, 2)
            seconds["ours"].append(spent)
            spent, theirs = passes(BertTokenizerFast(vocab), texts, 2)
            seconds["theirs"].append(spent)
            if not same(ours, theirs):
                sys.exit(f"{name}: the tensors differ.")
        for number, label in enumerate(("first pass", "after it")):
            ours_median, theirs_median = (median(spent[number] for spent in seconds[who]) for who in ("ours", "theirs"))
            row(f"BERT's tokenizer, {name}, {label}", size / ours_median, "MB/s", ratio=theirs_median / ours_median)
            print(
                f"{name + ', ' + label:24}{size / ours_median:7.1f} MB/s{size / theirs_median:7.1f} MB/s"
                f"{theirs_median / ours_median:7.1f}x"
            )
    ours_load, theirs_load = (
        median(load_seconds(code.format(path=vocab)) for _ in range(arguments.rounds)) for code in LOADING.values()
    )
    row("BERT's tokenizer, load", ours_load * 1e3, "ms", ratio=theirs_load / ours_load)
    print(
        f"{'load, fresh process':24}{ours_load * 1e3:9.1f} ms{theirs_load * 1e3:9.1f} ms{theirs_load / ours_load:7.1f}x"
    )


if __name__ == "__main__":
    main()
