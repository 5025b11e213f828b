"""Speed of generation by GPT-2 (124M and 355M, random weights), against transformers with the same weights.

Prints, for float32 and bfloat16: tokens per second of greedy decoding, of 1, 8 and 32 texts, and of beam search and
sampling; milliseconds for reading 512 tokens; and the ratio (above 1: we are faster).  The last column is the share
that we reach of the speed which the bare products of a step would allow: one ``x @ W`` for each matrix, in the layout
in which the model keeps it.  (While decoding, it may use transposed copies, which are faster; hence more than 100 %.)
All take turns in the same run; ratios and shares are medians of those of all rounds.  ``same`` is the share of tokens
on which both agree.
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor

from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from registry.nn import onednn
from results import row

PROMPT = 4
"""Tokens of the prompt."""
PREFILL = 512
BATCHES = (1, 8, 32)
"""Texts that are decoded at a time."""
SIZES = {
    "124M": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "355M": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
}
"""Models, as their authors call them."""
PROCESSORS = {"temperature": 0.9, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3}
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "beam search, 4 beams": ({"num_beams": 4}, {"num_beams": 4, "do_sample": False}),
    "sampling with five processors": (PROCESSORS, {**PROCESSORS, "do_sample": True}),
}
"""Other ways of decoding, with our options and those of transformers."""


class Pair(NamedTuple):
    """The same model twice."""

    ours: GPT2LMHeadModel
    theirs: transformers.GPT2LMHeadModel


def models(size: str, dtype: torch.dtype) -> Pair:
    torch.manual_seed(0)
    ours = GPT2LMHeadModel(GPT2Config(**SIZES[size])).eval()
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES[size])).eval()
    theirs.load_state_dict(ours.state_dict())
    ours = ours.to(dtype)
    if onednn.is_faster():  # as loading does
        onednn.enable(ours)
    return Pair(ours, theirs.to(dtype))


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each call in each round; every other round begins with the last one."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        for number in sorted(range(len(calls)), reverse=bool(turn % 2)):
            times[number].append(seconds(calls[number]))
    return times


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How much faster: the median of the ratios of the rounds."""
    return median(one / other for one, other in zip(slow, fast, strict=True))


def bare_products(model: GPT2LMHeadModel, batch: int, steps: int) -> Callable[[], None]:
    """A call that computes the products of as many steps, and nothing else."""
    vocabulary = model.lm_head.weight.t()
    matrices = [matrix for name, matrix in model.named_parameters() if ".c_" in name and matrix.dim() == 2]
    matrices.append(vocabulary)
    inputs = {len(matrix): torch.randn(batch, len(matrix), dtype=matrix.dtype) for matrix in matrices}

    def compute() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                for matrix in matrices:
                    inputs[len(matrix)] @ matrix

    return compute


def texts_of(batch: int) -> str:
    """A number of texts, for a reader."""
    return "1 text" if batch == 1 else f"{batch} texts"


def compare_decoding(name: str, pair: Pair, batch: int, new: int, rounds: int) -> str:
    """Tokens per second, of both and of the bare products."""
    ids = torch.randint(50_000, (batch, PROMPT))

    mask = torch.ones_like(ids)

    def ours() -> Tensor:
        return pair.ours.generate(ids, max_new_tokens=new)

    def theirs() -> Tensor:
        return pair.theirs.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, eos_token_id=None)

    same = (ours() == theirs()).float().mean().item()  # and this is a first round, which does not count
    bare = bare_products(pair.ours, batch, new)
    mine, other, least = in_turns((ours, theirs, bare), rounds)
    speed, their_speed, limit = (batch * new / median(times) for times in (mine, other, least))
    row(f"{name}, decoding {texts_of(batch)}", speed, "tokens/s", ratio=ratio(other, mine))
    row(f"{name}, decoding {texts_of(batch)}, share of the products", 100 * ratio(least, mine), "%")
    return (
        f"{speed:>8.1f}/s{their_speed:>12.1f}/s{ratio(other, mine):>9.2f}x{limit:>12.1f}/s{ratio(least, mine):>8.0%}"
        f"{same:>9.0%}"
    )


def compare_options(name: str, pair: Pair, new: int, rounds: int) -> str:
    """Tokens per second of one text, of both, for each of ``OPTIONS``."""
    ids = torch.randint(50_000, (1, PROMPT))
    mask, lines = torch.ones_like(ids), []
    for label, (our_options, their_options) in OPTIONS.items():

        def ours(options: dict[str, Any] = our_options) -> Tensor:
            return pair.ours.generate(ids, max_new_tokens=new, **options)

        def theirs(options: dict[str, Any] = their_options) -> Tensor:
            return pair.theirs.generate(ids, attention_mask=mask, max_new_tokens=new, eos_token_id=None, **options)

        assert ours().shape == theirs().shape
        mine, other = in_turns((ours, theirs), rounds)
        speed, their_speed = (new / median(times) for times in (mine, other))
        row(f"{name}, {label}", speed, "tokens/s", ratio=ratio(other, mine))
        lines.append(f"{f'{name}, {label}':42}{speed:.1f}/s{their_speed:>12.1f}/s{ratio(other, mine):>9.2f}x")
    return "\n".join(lines)


def compare_reading(name: str, pair: Pair, rounds: int) -> str:
    """Milliseconds from a prompt to the scores of the next token."""
    ids = torch.randint(50_000, (1, PREFILL))

    @torch.inference_mode()
    def ours() -> Tensor:
        return pair.ours.score(ids, pair.ours.new_cache(1, PREFILL))

    @torch.inference_mode()
    def theirs() -> Tensor:
        return pair.theirs(ids, logits_to_keep=1).logits[:, -1]

    same = (ours().argmax() == theirs().argmax()).item()
    mine, other = in_turns((ours, theirs), rounds)
    row(f"{name}, {PREFILL} tokens read", 1e3 * median(mine), "ms", ratio=ratio(other, mine))
    return (
        f"{1e3 * median(mine):>7.0f} ms{1e3 * median(other):>11.0f} ms{ratio(other, mine):>9.2f}x{'':>22}{same:>9.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the medians are taken")
    parser.add_argument("--threads", type=int, default=2, help="threads for all")
    parser.add_argument("--new", type=int, default=48, help="tokens that are decoded")
    parser.add_argument("--size", action="append", choices=SIZES, help="of this size; may be repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    print(f"{'':34}{'ours':>10}{'transformers':>14}{'ratio':>10}{'products':>14}{'share':>8}{'same':>9}")
    for size in arguments.size or SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            pair, name = models(size, dtype), f"GPT-2 {size}, {str(dtype).removeprefix('torch.')}"
            for batch in BATCHES:
                found = compare_decoding(name, pair, batch, arguments.new, arguments.rounds)
                print(f"{f'{name}, {texts_of(batch)}':34}{found}", flush=True)
            print(compare_options(name, pair, arguments.new, arguments.rounds), flush=True)
            print(f"{f'{name}, {PREFILL} read':34}{compare_reading(name, pair, arguments.rounds)}", flush=True)


if __name__ == "__main__":
    main()
