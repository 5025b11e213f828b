"""Speed on a GPU, against transformers with the same weights and against what the device itself can do.

    python benchmarks/gpu.py                        # under 8 minutes on one GPU
    python benchmarks/gpu.py --device cpu --tiny    # that it runs, without one

Prints, in bfloat16: loading to the device, beside a copy of as many bytes; BERT's forward, dense and padded, as a share
of the peak of a large product; reading a prompt and decoding by GPT-2, the latter as a share of the speed at which the
weights could be read; one step of decoding as it is, compiled, and as a CUDA graph.  Before anything is timed, outputs
on the device are compared with those of float32 on the CPU; beyond the error of bfloat16 the script ends with 1.

Both libraries take turns in the same run; times are medians of the rounds.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from registry.nn.cache import FixedKeyValueCache
from results import row

TOLERANCE = 0.05
"""Largest difference to the CPU's float32, relative to the largest output: bfloat16 keeps 8 bits, in some 24 layers."""
GIGA = 1e9


class Sizes(NamedTuple):
    """Sizes of the models and of what they read."""

    bert: dict[str, int]
    gpt2: dict[str, int]
    batch: int
    tokens: int
    new: int
    side: int
    """Of the square matrices whose product gives the peak."""


WHOLE = Sizes({}, {"n_embd": 1024, "n_layer": 24, "n_head": 16}, batch=32, tokens=512, new=128, side=8192)
"""BERT-Base, and GPT-2 of 355M parameters."""
TINY = Sizes(
    {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
    {"vocab_size": 99, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    batch=2,
    tokens=32,
    new=8,
    side=64,
)


class Device(NamedTuple):
    """The device, and how often a call is timed on it."""

    name: str
    rounds: int

    def seconds(self, call: Callable[[], object]) -> float:
        """Wall-clock time of a call, with what it left to the device."""
        self.wait()
        start = perf_counter()
        call()
        self.wait()
        return perf_counter() - start

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if torch.device(self.name).type == "cuda":
            torch.cuda.synchronize()

    def in_turns(self, *calls: Callable[[], object]) -> list[float]:
        """Median seconds of each call; a first round, which allocates and selects kernels, does not count."""
        times = [[self.seconds(call) for call in calls] for _ in range(self.rounds + 1)][1:]
        return [median(of_call) for of_call in zip(*times, strict=True)]


class Pair(NamedTuple):
    """The same model twice, in bfloat16 on the device, and its directory."""

    ours: Any
    theirs: Any
    directory: Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the medians are taken")
    parser.add_argument("--tiny", action="store_true", help="small models: to see that it runs")
    chosen = parser.parse_args()
    device, sizes = Device(chosen.device, chosen.rounds), TINY if chosen.tiny else WHOLE
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        bert = pair(device, Path(directory, "bert"), BertModel(BertConfig(**sizes.bert)), transformers.BertModel)
        gpt2 = pair(
            device, Path(directory, "gpt2"), GPT2LMHeadModel(GPT2Config(**sizes.gpt2)), transformers.GPT2LMHeadModel
        )
        if not all([agrees(bert, sizes), agrees(gpt2, sizes)]):
            return 1
        for loaded in (bert, gpt2):
            compare_loading(device, loaded)
        bandwidth, peak = limits(device, sizes)
        with torch.inference_mode():
            compare_forward(device, bert, sizes, peak)
            compare_generation(device, gpt2, sizes, bandwidth)
            compare_steps(device, gpt2, sizes, bandwidth)
    return 0


def pair(device: Device, directory: Path, model: Any, peer: Any) -> Pair:
    """A model in bfloat16, saved, and loaded by both libraries."""
    registry.save(model.eval().bfloat16(), directory)
    ours = registry.load_model(directory, dtype=torch.bfloat16, device=device.name)
    return Pair(ours, peer.from_pretrained(directory, dtype=torch.bfloat16).to(device.name).eval(), directory)


def ids_for(model: Any, batch: int, tokens: int) -> Tensor:
    return torch.randint(model.config.vocab_size, (batch, tokens), device=model.device)


# --- Right before fast ------------------------------------------------------------------------------------------------


def agrees(models: Pair, sizes: Sizes) -> bool:
    """Whether the outputs on the device are those of float32 on the CPU, within the error of bfloat16."""
    ids = ids_for(models.ours, 2, min(64, sizes.tokens))
    mask = torch.ones_like(ids)
    mask[0, ids.shape[1] // 2 :] = 0
    exact = registry.load_model(models.directory, dtype=torch.float32)
    with torch.inference_mode():
        expected = exact(ids.cpu(), attention_mask=mask.cpu())[0]
        found = models.ours(ids, attention_mask=mask)[0].float().cpu()
    read = mask.cpu().bool()
    error = float((found - expected)[read].abs().max() / expected[read].abs().max())
    print(f"{type(exact).__name__}: largest difference to the CPU's float32 {error:.2%} (limit {TOLERANCE:.0%})")
    return error <= TOLERANCE


# --- Loading ----------------------------------------------------------------------------------------------------------


def compare_loading(device: Device, models: Pair) -> None:
    """From a directory, whose files are in the page cache, to the device."""
    kind, size = type(models.theirs), sum(file.stat().st_size for file in models.directory.glob("*.safetensors"))
    host = torch.empty(size, dtype=torch.uint8, pin_memory=torch.device(device.name).type == "cuda")
    mine, other, copy = device.in_turns(
        lambda: registry.load_model(models.directory, dtype=torch.bfloat16, device=device.name),
        lambda: kind.from_pretrained(models.directory, dtype=torch.bfloat16).to(device.name),
        lambda: host.to(device.name, copy=True),
    )
    show(f"{kind.__name__}, loading to the device", mine * 1e3, "ms", other / mine)
    print(f"{'... a pinned copy of its bytes alone':52} {copy * 1e3:10,.1f} ms")


# --- Forward and generation -------------------------------------------------------------------------------------------


def limits(device: Device, sizes: Sizes) -> tuple[float, float]:
    """Bytes a second that the device copies (read and written), and operations a second of a large product."""
    source = torch.empty(2**30 if sizes is WHOLE else 2**20, dtype=torch.uint8, device=device.name)
    target = torch.empty_like(source)
    a, b = (torch.randn(sizes.side, sizes.side, device=device.name, dtype=torch.bfloat16) for _ in range(2))
    copied, multiplied = device.in_turns(lambda: target.copy_(source), lambda: a @ b)
    bandwidth, peak = 2 * source.nbytes / copied, 2 * sizes.side**3 / multiplied
    row("memory, copied", bandwidth / GIGA, "GB/s")
    row("bfloat16 product", peak / GIGA, "GFLOP/s")
    print(f"memory: {bandwidth / GIGA:,.0f} GB/s   product of {sizes.side}: {peak / GIGA / 1000:,.1f} TFLOP/s\n")
    return bandwidth, peak


def compare_forward(device: Device, models: Pair, sizes: Sizes, peak: float) -> None:
    """BERT on whole sequences, and on one padded batch of which three in eight tokens are real."""
    ids = ids_for(models.ours, sizes.batch, sizes.tokens)
    lengths = torch.linspace(sizes.tokens // 8, sizes.tokens * 5 // 8, sizes.batch, device=ids.device).long()
    padded = (torch.arange(sizes.tokens, device=ids.device) < lengths[:, None]).long()
    for what, mask in (("whole", torch.ones_like(ids)), ("padded", padded)):
        mine, other = device.in_turns(
            lambda mask=mask: models.ours(ids, attention_mask=mask),
            lambda mask=mask: models.theirs(ids, attention_mask=mask),
        )
        name = f"BERT, forward, {sizes.batch} x {sizes.tokens} tokens, {what}"
        show(name, mine * 1e3, "ms", other / mine)
        if what == "whole":
            matrices = sum(p.numel() for n, p in models.ours.named_parameters() if p.dim() == 2 and "layer" in n)
            share = 2 * matrices * ids.numel() / mine / peak
            print(f"{'... share of the peak, without attention':52} {share:10.0%}")


def compare_generation(device: Device, models: Pair, sizes: Sizes, bandwidth: float) -> None:
    """Reading prompts, and greedy decoding of 1, 8 and 32 texts."""
    prompt = ids_for(models.ours, 8, models.ours.config.n_positions // 2)
    mine, other = device.in_turns(lambda: models.ours(prompt), lambda: models.theirs(prompt, use_cache=True))
    show(f"GPT-2, 8 x {prompt.shape[1]} tokens read", mine * 1e3, "ms", other / mine)
    for batch in (1, 8, 32):
        ids = ids_for(models.ours, batch, 16)
        mine, other = device.in_turns(
            lambda ids=ids: models.ours.generate(ids, max_new_tokens=sizes.new),
            lambda ids=ids: models.theirs.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=sizes.new, do_sample=False, eos_token_id=None
            ),
        )
        texts = "1 text" if batch == 1 else f"{batch} texts"
        show(f"GPT-2, decoding {texts}", batch * sizes.new / mine, "tokens/s", other / mine)
        print(f"{'... share of reading the weights':52} {weight_bytes(models) * sizes.new / mine / bandwidth:10.0%}")


def compare_steps(device: Device, models: Pair, sizes: Sizes, bandwidth: float) -> None:
    """One step of decoding after ``sizes.tokens`` tokens: as it is and, on a GPU, compiled and as a CUDA graph."""
    length = min(sizes.tokens, models.ours.config.n_positions - 1)
    past = models.ours(ids_for(models.ours, 1, length), use_cache=True).past_key_values
    cache, ids = FixedKeyValueCache([(key.clone(), value.clone()) for key, value in past]), ids_for(models.ours, 1, 1)

    def step() -> Tensor:
        scores: Tensor = models.ours.score(ids, cache)
        return scores

    steps: dict[str, Callable[[], object]] = {"as it is": step}
    if torch.device(device.name).type == "cuda":
        steps["compiled"] = torch.compile(step, mode="reduce-overhead")
        steps["a CUDA graph"] = graphed(step)
    for name, seconds in zip(steps, device.in_turns(*steps.values()), strict=True):
        show(f"GPT-2, a step after {length} tokens, {name}", seconds * 1e3, "ms", None)
        print(f"{'... share of reading the weights':52} {weight_bytes(models) / seconds / bandwidth:10.0%}")


def graphed(step: Callable[[], Tensor]) -> Callable[[], object]:
    """The step as a CUDA graph, which is replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def weight_bytes(models: Pair) -> int:
    """Bytes of the weights that a step reads: all but the positions; the embedding is read as the head."""
    return sum(p.nbytes for name, p in models.ours.named_parameters() if "wpe" not in name)


def show(what: str, value: float, unit: str, ratio: float | None) -> None:
    row(f"GPU: {what}", value, unit, ratio=ratio)
    beside = "" if ratio is None else f"   {ratio:6.2f}x of transformers"
    print(f"{what:52} {value:10,.1f} {unit}{beside}")


if __name__ == "__main__":
    sys.exit(main())
