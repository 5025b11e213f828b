"""Fine-tuning BERT-Base for two classes, against transformers with the same weights: time of a step, and memory.

    python benchmarks/training.py [--rounds N]

A step is forward, backward and AdamW, in float32, without dropout, so that losses can be compared.  The two take turns
in the same run; ratios are medians of those of all rounds.  Peaks of memory, with gradient checkpointing, are those of
processes of their own, less what the process had before the model was made: what making it leaves behind is used again
in the steps.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig as PeerConfig
from transformers import BertForSequenceClassification as PeerClassifier

from forward import LENGTHS, batch
from plugins.bert.config import BertConfig
from plugins.bert.finetuning import BertForSequenceClassification
from registry.nn import onednn
from results import row

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SHAPES = {
    "8 x 128 tokens": (128,) * 8,
    "16 texts of 9 to 128 tokens, padded": LENGTHS,
}
WHO = ("ours", "theirs")


def model_of(who: str) -> Any:
    """BERT-Base with a head for two classes, of one of the libraries."""
    if who == "theirs":
        return PeerClassifier(PeerConfig(num_labels=2, **NO_DROPOUT)).train()
    ours = BertForSequenceClassification(BertConfig(**NO_DROPOUT), num_labels=2).train()
    if onednn.is_faster():  # as loading does
        onednn.enable(ours)
    return ours


def step_of(model: Any, inputs: dict[str, Tensor]) -> Callable[[], float]:
    """A call that makes one step, and returns its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    labels = torch.arange(len(inputs["input_ids"])) % 2

    def step() -> float:
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def compare_steps(name: str, inputs: dict[str, Tensor], rounds: int) -> None:
    """Milliseconds of a step; a first one does not count."""
    ours, theirs = map(model_of, WHO)
    theirs.load_state_dict(ours.state_dict())
    steps = [step_of(model, inputs) for model in (ours, theirs)]
    first, other = (step() for step in steps)
    if abs(first - other) > 1e-4:
        sys.exit(f"{name}: the losses differ, {first} and {other}.")
    times: list[list[float]] = [[], []]
    for turn in range(rounds):
        for number in (0, 1) if turn % 2 else (1, 0):
            start = perf_counter()
            steps[number]()
            times[number].append(1e3 * (perf_counter() - start))
    ratio = median(their / our for our, their in zip(*times, strict=True))
    row(f"BERT-Base, fine-tuning step, {name}", median(times[0]), "ms", ratio=ratio)
    print(f"{name:40}{median(times[0]):>8.0f} ms{median(times[1]):>12.0f} ms{ratio:>8.2f}x", flush=True)


def kept(who: str) -> int:
    """Bytes of all that a forward pass keeps for the backward pass, with gradient checkpointing."""
    model, inputs = model_of(who), batch(SHAPES["8 x 128 tokens"])
    model.gradient_checkpointing_enable()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(**inputs, labels=torch.arange(len(inputs["input_ids"])) % 2)
    assert output.loss.requires_grad  # and all that is kept is there until now
    return sum(found.values())


def memory(key: str) -> int:
    """Memory of this process: ``VmRSS``, what it has, or ``VmHWM``, the most that it has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def report_memory(who: str) -> None:
    """Print the peak of memory in two steps with gradient checkpointing, weights and optimizer included."""
    before = memory("VmRSS")
    model = model_of(who)
    model.gradient_checkpointing_enable()
    step = step_of(model, batch(SHAPES["8 x 128 tokens"]))
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what there is now
    step()
    step()
    print(json.dumps(memory("VmHWM") - before))


def compare_memory() -> None:
    """Megabytes with gradient checkpointing: what is kept, and the peak with gradients and the optimizer's state."""
    show_memory("gradient checkpointing, kept", *map(kept, WHO))
    line = [sys.executable, "-W", "ignore", __file__, "--memory"]
    gives_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed, and is no luck of the allocator
    runs = [subprocess.run([*line, who], capture_output=True, check=True, env=gives_back) for who in WHO]
    ours, theirs = (json.loads(done.stdout.splitlines()[-1]) for done in runs)
    show_memory("gradient checkpointing, peak", ours, theirs)


def show_memory(name: str, ours: int, theirs: int) -> None:
    row(f"BERT-Base, {name}", ours / 1e6, "MB", ratio=theirs / ours)
    print(f"{name:40}{ours / 1e6:>8.0f} MB{theirs / 1e6:>12.0f} MB{theirs / ours:>8.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the medians are taken")
    parser.add_argument("--threads", type=int, default=2, help="threads for both")
    parser.add_argument("--memory", choices=WHO, help="print the memory of one of both, and nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        report_memory(arguments.memory)
        return
    print(f"{'BERT-Base, float32':40}{'ours':>11}{'transformers':>15}{'ratio':>9}")
    for name, lengths in SHAPES.items():
        compare_steps(name, batch(lengths), arguments.rounds)
    compare_memory()


if __name__ == "__main__":
    main()
