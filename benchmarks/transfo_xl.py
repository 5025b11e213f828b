"""Transformer-XL against pytorch-pretrained-bert 0.6.2, with the same weights, words and threads.

    python benchmarks/transfo_xl.py --shared ../shared

Its masks of bytes are read as booleans, without which it does not run on today's torch.  Evaluation, training and
generation are of a model with 6 layers, 512 features and 50,000 words, sampled by Zipf's law; its products are made by
oneDNN, as in every model that is loaded.  The two take turns in the same run; ratios are medians of those of all
rounds.  Peaks of memory and times of loading are taken in processes of their own; the files of the published size,
random weights of 1.1 GB, are in the page cache then.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.garbage import gc_paused
from registry.nn import onednn
from results import row

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_pretrained_bert as reference

VOCABULARY = 50_000
SIZES: dict[str, Any] = {
    "d_model": 512, "d_embed": 512, "n_head": 8, "d_head": 64, "d_inner": 2048, "n_layer": 6, "tgt_len": 64,
    "cutoffs": [5_000, 20_000, 35_000], "div_val": 4,
}  # fmt: skip
BATCH, TOKENS = 2, 64
MEMORY, LONG_MEMORY = 128, 512
SEGMENTS = 12
NEW = 32
PUBLISHED_WORDS = 267_735


# --- The same model twice ---------------------------------------------------------------------------------------------


def models(mem_len: int) -> tuple[Any, Any]:
    torch.manual_seed(0)
    ours = TransfoXLLMHeadModel(TransfoXLConfig(vocab_size=VOCABULARY, mem_len=mem_len, **SIZES)).eval()
    if onednn.is_faster():  # as loading does
        onednn.enable(ours)
    theirs = reference.TransfoXLLMHeadModel(reference.TransfoXLConfig(VOCABULARY, mem_len=mem_len, **SIZES)).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)  # it has a buffer of frequencies, too
    return ours, theirs


def words(tokens: int) -> Tensor:
    """Sequences of ids, sampled by Zipf's law."""
    torch.manual_seed(1)
    shares = 1 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    return torch.multinomial(shares, BATCH * (tokens + 1), replacement=True).view(BATCH, tokens + 1)


def segments(ids: Tensor) -> list[tuple[Tensor, Tensor]]:
    starts = range(0, ids.shape[1] - TOKENS, TOKENS)
    return [(ids[:, s : s + TOKENS], ids[:, s + 1 : s + TOKENS + 1].contiguous()) for s in starts]


def read_by_us(model: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    mems, total = None, 0.0
    with torch.no_grad():
        for ids, target in parts:
            output = model(ids, target=target, mems=mems)
            mems, total = output.mems, total + output.loss.item()
    return total


def read_by_them(model: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    mems, total = None, 0.0
    with torch.no_grad():
        for ids, target in parts:
            losses, mems = model(ids, target, mems=mems)
            total += losses.mean().item()
    return total


def train_ours(model: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> None:
    mems = None
    for ids, target in parts:
        model.zero_grad()
        output = model(ids, target=target, mems=mems)
        output.loss.backward()
        mems = output.mems


def train_theirs(model: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> None:
    mems = None
    for ids, target in parts:
        model.zero_grad()
        losses, mems = model(ids, target, mems=mems)
        losses.mean().backward()


def generate_ours(model: Any, prompt: Tensor) -> Tensor:
    return model.generate(prompt, max_new_tokens=NEW, eos_token_id=())


def generate_theirs(model: Any, prompt: Tensor) -> Tensor:
    text, unread, mems = prompt, prompt, None
    with torch.no_grad():
        for _ in range(NEW):
            scores, mems = model(unread, mems=mems)
            unread = scores[:, -1:].argmax(-1)
            text = torch.cat([text, unread], dim=1)
    return text


def sample_ours(model: Any, prompt: Tensor) -> Tensor:
    options = {"temperature": 0.9, "top_k": 50, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3}
    return model.generate(prompt, max_new_tokens=NEW, eos_token_id=(), **options)


def sample_theirs(model: Any, prompt: Tensor) -> Tensor:
    """With the processors of transformers, as the library has none."""
    process = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.2),
            NoRepeatNGramLogitsProcessor(3),
            TemperatureLogitsWarper(0.9),
            TopKLogitsWarper(50),
        ]
    )
    text, unread, mems = prompt, prompt, None
    with torch.no_grad():
        for _ in range(NEW):
            scores, mems = model(unread, mems=mems)
            unread = process(text, scores[:, -1]).softmax(-1).multinomial(1)
            text = torch.cat([text, unread], dim=1)
    return text


# --- Measuring --------------------------------------------------------------------------------------------------------


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios; a first round does not count."""
    times = []
    for turn in range(rounds + 1):
        seconds = {}
        for call in (ours, theirs)[:: -1 if turn % 2 else 1]:
            with gc_paused():  # a full collection takes longer than some calls, and falls on one of both
                start = perf_counter()
                call()
                seconds[call] = perf_counter() - start
        times.append((seconds[ours], seconds[theirs]))
    mine, others = zip(*times[1:], strict=True)
    return median(mine), median(others), median(other / one for one, other in times[1:])


def show(what: str, ours: str, theirs: str, ratio: str, aim: str) -> None:
    print(f"{what:42}{ours:>15}{theirs:>15}{ratio:>9}   {aim}", flush=True)


def show_rate(what: str, units: int, found: tuple[float, float, float], aim: str) -> None:
    mine, other, ratio = found
    row(f"Transformer-XL, {what}", units / mine, "1/s", ratio=ratio, peer="pytorch-pretrained-bert")
    show(what, f"{units / mine:,.0f}/s", f"{units / other:,.0f}/s", f"{ratio:.2f}x", aim)


def compare_models(rounds: int) -> None:
    parts = segments(words(TOKENS * SEGMENTS))
    ours, theirs = models(MEMORY)
    assert abs(read_by_us(ours, parts) - read_by_them(theirs, parts)) < 1e-3 * SEGMENTS
    found = in_turns(lambda: read_by_us(ours, parts), lambda: read_by_them(theirs, parts), rounds)
    show_rate("evaluation, tokens", BATCH * TOKENS * SEGMENTS, found, ">= 1.5x")
    ours.train()
    theirs.train()
    found = in_turns(lambda: train_ours(ours, parts[:3]), lambda: train_theirs(theirs, parts[:3]), rounds)
    show_rate("training, tokens", BATCH * TOKENS * 3, found, ">= 1.2x")
    ours, theirs = models(LONG_MEMORY)
    prompt = words(16)[:1]
    assert torch.equal(generate_ours(ours, prompt), generate_theirs(theirs, prompt))
    found = in_turns(lambda: generate_ours(ours, prompt), lambda: generate_theirs(theirs, prompt), max(1, rounds // 3))
    show_rate(f"generation, memory of {LONG_MEMORY}, tokens", NEW, found, ">= 5x")
    found = in_turns(lambda: sample_ours(ours, prompt), lambda: sample_theirs(theirs, prompt), max(1, rounds // 3))
    show_rate(f"sampling, memory of {LONG_MEMORY}, tokens", NEW, found, ">= 1.5x")


def in_one_tensor(tokenizer: Any, lines: Sequence[str]) -> Tensor:
    return tokenizer.encode_sents(map(tokenizer.tokenize, lines), ordered=True)


def compare_tokenizers(path: Path, rounds: int) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    ours, theirs = TransfoXLTokenizer(special=["<unk>"]), reference.TransfoXLTokenizer(special=["<unk>"])
    for tokenizer in (ours, theirs):
        tokenizer.count_sents(tokenizer.tokenize(line) for line in lines)
    ours.build_vocab()
    with redirect_stdout(StringIO()):  # it prints what it does
        theirs.build_vocab()

    def mine() -> list[list[int]]:
        return [ours.encode(line) for line in lines]

    def other() -> list[list[int]]:
        return [theirs.convert_tokens_to_ids(theirs.tokenize(line)) for line in lines]

    assert mine() == other()
    count = sum(map(len, mine()))
    show_rate("tokenizer, line in and list out, words", count, in_turns(mine, other, rounds), ">= 3x")
    found = in_turns(lambda: in_one_tensor(ours, lines), lambda: in_one_tensor(theirs, lines), rounds)
    assert in_one_tensor(ours, lines).equal(in_one_tensor(theirs, lines))
    show_rate("tokenizer, lines in and tensor out, words", count, found, ">= 3x")
    ours = TransfoXLTokenizer({word: number for number, word in enumerate([*theirs.idx2sym, "<eos>"])})
    theirs.add_special("<eos>")
    assert ours.encode_file(path, ordered=True).equal(theirs.encode_file(str(path), ordered=True))
    found = in_turns(
        lambda: ours.encode_file(path, ordered=True), lambda: theirs.encode_file(str(path), ordered=True), rounds
    )
    show_rate("tokenizer, file in and tensor out, words", count, found, ">= 3x")


# --- In processes of their own ----------------------------------------------------------------------------------------

START = """
import json, sys, warnings
from time import perf_counter
warnings.simplefilter("ignore")
"""

STEP = """
import re
sys.path.insert(0, {folder!r})
import transfo_xl as here
import torch
torch.set_num_threads({threads})
torch.Tensor.byte = torch.Tensor.bool
def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
which = {which}
model = here.models(here.MEMORY)[which]
read = (here.read_by_us, here.read_by_them)[which]
parts = here.segments(here.words(here.TOKENS * 2))
small = parts[0][0][:1, :1], parts[0][1][:1, :1].contiguous()
read(model, [small])
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
read(model, parts)
print(json.dumps(memory("VmHWM") - before))
"""

LOAD = """
import torch
start = perf_counter()
import registry
registry.load_model({folder!r})
print(json.dumps(perf_counter() - start))
"""

TOKENIZE = """
start = perf_counter()
import registry
registry.load_tokenizer({folder!r})
print(json.dumps(perf_counter() - start))
"""

TOKENIZE_AFTER = """
import registry
registry.load_config({folder!r})
start = perf_counter()
registry.load_tokenizer({folder!r})
print(json.dumps(perf_counter() - start))
"""


def measured(script: str, rounds: int, **values: Any) -> float:
    """The median of the numbers that a script prints, each time in a new process; the first does not count."""
    command = [sys.executable, "-c", START + script.format(**values)]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "transfo_xl_bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    runs = [subprocess.run(command, capture_output=True, check=True, env=environment) for _ in range(rounds + 1)]
    return median(json.loads(run.stdout.splitlines()[-1]) for run in runs[1:])


def compare_memory(rounds: int, threads: int) -> None:
    here = str(Path(__file__).parent)
    mine, other = (measured(STEP, rounds, folder=here, which=which, threads=threads) for which in (0, 1))
    row("Transformer-XL, memory of evaluation", mine, "MB", ratio=other / mine, peer="pytorch-pretrained-bert")
    show(
        "memory of evaluation, above the model", f"{mine:.1f} MB", f"{other:.1f} MB", f"{mine / other:.2f}x", "<= 0.7x"
    )


def time_loading(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = TransfoXLLMHeadModel(TransfoXLConfig())
        number = sum(parameter.numel() for parameter in model.parameters())
        model.save_pretrained(folder)
        del model
        Path(folder, "vocab.txt").write_text("<unk>\n" + "".join(f"word{n}\n" for n in range(PUBLISHED_WORDS - 1)))
        seconds = measured(LOAD, rounds, folder=folder)
        row("Transformer-XL, load_model", 1e3 * seconds, "ms")
        show(f"load_model, {number:,} parameters", f"{1e3 * seconds:.0f} ms", "", "", "< 100 ms, without import torch")
        for what, script in (("alone, imports too", TOKENIZE), ("when the registry is imported", TOKENIZE_AFTER)):
            seconds = measured(script, rounds, folder=folder)
            row(f"Transformer-XL, tokenizer, {what}", 1e3 * seconds, "ms")
            show(f"tokenizer, {what}", f"{1e3 * seconds:.0f} ms", "", "", f"< 100 ms, {PUBLISHED_WORDS:,} words")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parent.parent.parent / "shared", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("models", "memory", "tokenizer", "load"), nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Tensor.byte = Tensor.bool  # type: ignore[method-assign]
    wanted = arguments.only or ("models", "memory", "tokenizer", "load")
    show("", "ours", "pytorch-p.-bert", "ratio", "aim")
    if "models" in wanted:
        compare_models(arguments.rounds)
    if "memory" in wanted:
        compare_memory(max(1, arguments.rounds // 3), arguments.threads)
    if "tokenizer" in wanted:
        compare_tokenizers(arguments.shared / "data" / "text" / "english.txt", arguments.rounds)
    if "load" in wanted:
        time_loading(max(1, arguments.rounds // 3))


if __name__ == "__main__":
    main()
