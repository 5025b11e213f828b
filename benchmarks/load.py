"""Loading a BERT-base-sized folder, against transformers: time to a model, time to a result, memory.

Every measurement is a process of its own; the two libraries take turns.  The folder has random weights and is made once,
by transformers itself; its files are in the page cache when time is taken.

Usage: python benchmarks/load.py [--shared DIR] [--rounds N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

MEGABYTE = 1e6

MAKE = """
import sys, torch
from transformers import BertConfig, BertModel
torch.manual_seed(0)
BertModel(BertConfig()).save_pretrained(sys.argv[1])
print("{}")
"""

PEAK = """
import re
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
"""

TORCH_ALONE = "import torch" + PEAK + "print('{\"peak\": %d}' % peak)"

OUR_MODEL = (
    """
import json, sys, torch
from time import perf_counter
start = perf_counter()
import registry
model = registry.load_model(sys.argv[1])
seconds = perf_counter() - start
"""
    + PEAK
    + """
assert sum(p.numel() for p in model.parameters()) > 109e6
print(json.dumps({"seconds": seconds, "peak": peak}))
"""
)

THEIR_MODEL = (
    """
import json, sys, torch
from time import perf_counter
start = perf_counter()
from transformers import BertModel
model = BertModel.from_pretrained(sys.argv[1])
seconds = perf_counter() - start
"""
    + PEAK
    + """
print(json.dumps({"seconds": seconds, "peak": peak}))
"""
)

OUR_TOKENIZER = """
import json, sys, torch
from time import perf_counter
start = perf_counter()
import registry
tokenizer = registry.load_tokenizer(sys.argv[1])
print(json.dumps({"seconds": perf_counter() - start, "size": len(tokenizer)}))
"""

THEIR_TOKENIZER = """
import json, sys, torch
from time import perf_counter
start = perf_counter()
from transformers import BertTokenizerFast
tokenizer = BertTokenizerFast.from_pretrained(sys.argv[1])
print(json.dumps({"seconds": perf_counter() - start, "size": len(tokenizer)}))
"""

OUR_STATE = """
import sys, torch, registry
loaded = registry.load(sys.argv[1], "base")
with torch.no_grad():
    loaded.model(**loaded.tokenizer("The first hidden state of a fresh process.", return_tensors="pt")).last_hidden_state[0, 0]
print("{}")
"""

THEIR_STATE = """
import sys, torch
from transformers import BertModel, BertTokenizerFast
model, tokenizer = BertModel.from_pretrained(sys.argv[1]), BertTokenizerFast.from_pretrained(sys.argv[1])
with torch.no_grad():
    model(**tokenizer("The first hidden state of a fresh process.", return_tensors="pt")).last_hidden_state[0, 0]
print("{}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(MAKE, folder)
        shutil.copy(arguments.shared / "data" / "bert" / "vocab.txt", folder)
        report(arguments.rounds, folder)


def report(rounds: int, folder: str) -> None:
    """Measure everything, and print a line for each number with its aim."""
    ours, theirs = in_turns(rounds, folder, OUR_MODEL, THEIR_MODEL)
    line("first load_model, torch imported", ours["seconds"], theirs["seconds"], "< 100 ms, >= 20x")
    peak, their_peak = ours["peak"], theirs["peak"]
    ours, theirs = in_turns(rounds, folder, OUR_TOKENIZER, THEIR_TOKENIZER)
    line("first load_tokenizer, torch imported", ours["seconds"], theirs["seconds"], "< 20 ms")
    ours, theirs = in_turns(rounds, folder, OUR_STATE, THEIR_STATE)
    line("process to first hidden state", ours["wall"], theirs["wall"], ">= 2x")
    bare = statistics.median(run(TORCH_ALONE, folder)["peak"] for _ in range(rounds))
    file = Path(folder, "model.safetensors").stat().st_size
    print(f"peak memory while loading: {peak / MEGABYTE:.0f} MB (transformers: {their_peak / MEGABYTE:.0f} MB)")
    above = (peak - bare - file) / MEGABYTE
    print(
        f"  above the file ({file / MEGABYTE:.0f} MB) and torch alone ({bare / MEGABYTE:.0f} MB): {above:+.0f} MB (aim: <= +40 MB)"
    )


def line(what: str, ours: float, theirs: float, aim: str) -> None:
    print(
        f"{what:38} {ours * 1e3:8.0f} ms   transformers {theirs * 1e3:8.0f} ms   {theirs / ours:5.1f}x   (aim: {aim})"
    )


def in_turns(rounds: int, folder: str, ours: str, theirs: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Medians of what the two scripts report; a first round, which fills the page cache, does not count."""
    results = [(run(ours, folder), run(theirs, folder)) for _ in range(rounds + 1)][1:]
    one, other = ([pair[side] for pair in results] for side in (0, 1))
    return medians(one), medians(other)


def medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def run(script: str, folder: str) -> dict[str, float]:
    """Run a script in a process of its own; what it reports, and the time from start to end of the process."""
    start = perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, folder],
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wall = perf_counter() - start
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "wall": wall}


if __name__ == "__main__":
    main()
