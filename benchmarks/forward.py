"""How fast BERT-Base computes, beside transformers with the same weights in the same run.

Prints milliseconds, the ratio (above 1: we are faster), and the largest difference at tokens; padding has no numbers
worth comparing.  The two take turns; the ratio is the median of the ratios of all rounds, so that a machine which is
slow for a while disturbs both alike.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter

import torch
import transformers
from torch import Tensor

from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel
from registry.nn import onednn
from results import row

LENGTHS = (12, 20, 31, 17, 64, 9, 128, 25, 40, 15, 22, 90, 18, 33, 11, 27)
"""Tokens of sixteen texts as they come: a few long ones decide how wide the batch is."""


def batch(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Random texts of these lengths, padded to the longest."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.randint(1, 30000, mask.shape) * mask, "attention_mask": mask}


def measure(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of each call in each round; they take turns, and every other round begins with the last one."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        for number in sorted(range(len(calls)), reverse=bool(turn % 2)):
            start = perf_counter()
            calls[number]()
            times[number].append(1e3 * (perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, of which the medians are taken")
    parser.add_argument("--threads", type=int, default=2, help="threads for both")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    ours = BertModel(BertConfig()).eval()
    if onednn.is_faster():  # as loading does
        onednn.enable(ours)
    theirs = transformers.BertModel(transformers.BertConfig()).eval()
    theirs.load_state_dict(ours.state_dict())

    print(f"{'BERT-Base, float32':36}{'ours':>10}{'transformers':>15}{'ratio':>8}{'difference':>13}")
    for name, inputs in (
        ("8 x 128 tokens", batch((128,) * 8)),
        ("16 texts of 9 to 128 tokens, padded", batch(LENGTHS)),
        ("64 texts of 5 to 36 tokens, padded", batch(tuple(range(5, 37)) * 2)),
        ("1 text of 16 tokens", batch((16,))),
    ):
        calls = [partial(ours, **inputs), partial(theirs, **inputs)]
        with torch.inference_mode():
            mine, other = (call()[0][inputs["attention_mask"].bool()] for call in calls)
            difference = (mine - other).abs().max().item()
            our_times, their_times = measure(calls, arguments.rounds)
        ratio = median(their / our for our, their in zip(our_times, their_times, strict=True))
        row(f"BERT-Base, float32, {name}", median(our_times), "ms", ratio=ratio)
        print(f"{name:36}{median(our_times):>7.1f} ms{median(their_times):>12.1f} ms{ratio:>7.2f}x{difference:>13.1e}")


if __name__ == "__main__":
    main()
