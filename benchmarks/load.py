"""Loading BERT-base and GPT-2 sized directories, against transformers: time to a model, time to a result, memory.

Every measurement is a process of its own, and the two libraries take turns.  Directories have random weights and are
saved by transformers; their files are in the page cache when time is taken.

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
from pathlib import Path
from time import perf_counter

from results import row

MEGABYTE = 1e6

REPORT = """
import json, re, sys
from time import perf_counter
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
def report(**numbers):
    print(json.dumps({"peak": peak(), **numbers}))
"""

MAKE = """
import torch
from transformers import BertConfig, BertModel
torch.manual_seed(0)
BertModel(BertConfig()).save_pretrained(sys.argv[1])
report()
"""

TORCH_ALONE = """
import torch
report()
"""

OUR_MODEL = """
import torch
start = perf_counter()
import registry
model = registry.load_model(sys.argv[1])
loaded, highest = perf_counter(), peak()
tokenizer = registry.load_tokenizer(sys.argv[1])
report(model=loaded - start, tokenizer=perf_counter() - loaded, peak=highest)
"""

THEIR_MODEL = """
import torch
start = perf_counter()
from transformers import BertModel
model = BertModel.from_pretrained(sys.argv[1])
loaded, highest = perf_counter(), peak()
from transformers import BertTokenizerFast
tokenizer = BertTokenizerFast.from_pretrained(sys.argv[1])
report(model=loaded - start, tokenizer=perf_counter() - loaded, peak=highest)
"""

MAKE_GPT2 = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel
GPT2LMHeadModel(GPT2Config()).save_pretrained(sys.argv[1])
report()
"""

OUR_GPT2 = """
import torch
start = perf_counter()
import registry
model = registry.load_model(sys.argv[1])
report(model=perf_counter() - start)
"""

THEIR_GPT2 = """
import torch
start = perf_counter()
from transformers import GPT2LMHeadModel
model = GPT2LMHeadModel.from_pretrained(sys.argv[1])
report(model=perf_counter() - start)
"""

OUR_TOKENIZER = """
start = perf_counter()
import registry
tokenizer = registry.load_tokenizer(sys.argv[1])
report(tokenizer=perf_counter() - start)
"""

THEIR_TOKENIZER = """
start = perf_counter()
from transformers import BertTokenizerFast
tokenizer = BertTokenizerFast.from_pretrained(sys.argv[1])
report(tokenizer=perf_counter() - start)
"""

OUR_STATE = """
import registry, torch
loaded = registry.load(sys.argv[1], "base")
with torch.no_grad():
    loaded.model(**loaded.tokenizer("A fresh process.", return_tensors="pt")).last_hidden_state[0, 0]
report()
"""

THEIR_STATE = """
import torch
from transformers import BertModel, BertTokenizerFast
model = BertModel.from_pretrained(sys.argv[1])
tokenizer = BertTokenizerFast.from_pretrained(sys.argv[1])
with torch.no_grad():
    model(**tokenizer("A fresh process.", return_tensors="pt")).last_hidden_state[0, 0]
report()
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
    with tempfile.TemporaryDirectory() as folder:
        run(MAKE_GPT2, folder)
        model, their_model = in_turns(arguments.rounds, folder, OUR_GPT2, THEIR_GPT2)
        show("load_model of GPT-2, 124M", model["model"], their_model["model"], "< 100 ms, >= 20x")


def report(rounds: int, folder: str) -> None:
    """Measure everything, and print each number with its aim."""
    model, their_model = in_turns(rounds, folder, OUR_MODEL, THEIR_MODEL)
    show("load_model, torch imported", model["model"], their_model["model"], "< 100 ms, >= 20x")
    show("load_tokenizer after it", model["tokenizer"], their_model["tokenizer"], "< 20 ms")
    tokenizer, their_tokenizer = in_turns(rounds, folder, OUR_TOKENIZER, THEIR_TOKENIZER)
    show("load_tokenizer alone, imports too", tokenizer["tokenizer"], their_tokenizer["tokenizer"], "none")
    state, their_state = in_turns(rounds, folder, OUR_STATE, THEIR_STATE)
    show("process to first hidden state", state["wall"], their_state["wall"], ">= 2x")

    torch = medians([run(TORCH_ALONE, folder) for _ in range(rounds)])["peak"]
    file = Path(folder, "model.safetensors").stat().st_size
    print(f"\nPeak memory in MB; the file has {file / MEGABYTE:.0f}, and torch alone takes {torch / MEGABYTE:.0f}.")
    for what, ours, theirs in (("loading", model, their_model), ("first hidden state", state, their_state)):
        above = (ours["peak"] - file - torch) / MEGABYTE
        row(f"peak memory, {what}", ours["peak"] / MEGABYTE, "MB", ratio=theirs["peak"] / ours["peak"])
        print(
            f"{what:34} {ours['peak'] / MEGABYTE:6.0f}      transformers {theirs['peak'] / MEGABYTE:6.0f}"
            f"      {above:+5.0f} against file and torch  (aim: <= +40)"
        )


def show(what: str, ours: float, theirs: float, aim: str) -> None:
    row(what, ours * 1e3, "ms", ratio=theirs / ours)
    print(f"{what:34} {ours * 1e3:6.0f} ms   transformers {theirs * 1e3:6.0f} ms   {theirs / ours:5.1f}x  (aim: {aim})")


def in_turns(rounds: int, folder: str, ours: str, theirs: str) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of what the two scripts report; a first round, which fills the page cache, does not count."""
    results = [(run(ours, folder), run(theirs, folder)) for _ in range(rounds + 1)][1:]
    return medians([our for our, _ in results]), medians([their for _, their in results])


def medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def run(script: str, folder: str) -> dict[str, float]:
    """Run a script in a process of its own; what it reports, and ``wall``, the seconds from its start to its end.

    Byte code is cached, in the folder, as that of installed packages is.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPORT + script, folder],
        env=environment,
        check=True,
        capture_output=True,
    )
    wall = perf_counter() - start
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": wall}


if __name__ == "__main__":
    main()
