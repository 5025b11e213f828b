"""How fast BERT-Base computes, beside transformers with the same weights in the same run.

Prints milliseconds, the ratio (above 1: we are faster), and the largest difference at tokens; padding has no numbers
worth comparing.  The two take turns, and the medians are compared, so that a noisy machine disturbs both alike.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import transformers
from torch import Tensor

from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel

LENGTHS = (12, 20, 31, 17, 64, 9, 128, 25, 40, 15, 22, 90, 18, 33, 11, 27)
"""Tokens of sixteen texts as they come: a few long ones decide how wide the batch is."""


def batch(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Random texts of these lengths, padded to the longest."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.randint(1, 30000, mask.shape) * mask, "attention_mask": mask}


def milliseconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return 1e3 * (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, of which the medians are taken")
    parser.add_argument("--threads", type=int, default=2, help="threads for both")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    ours = BertModel(BertConfig()).eval()
    theirs = transformers.BertModel(transformers.BertConfig()).eval()
    theirs.load_state_dict(ours.state_dict())

    print(f"{'BERT-Base, float32':36}{'ours':>10}{'transformers':>15}{'ratio':>8}{'difference':>13}")
    for name, inputs in (
        ("8 x 128 tokens", batch((128,) * 8)),
        ("16 texts of 9 to 128 tokens, padded", batch(LENGTHS)),
        ("64 texts of 5 to 36 tokens, padded", batch(tuple(range(5, 37)) * 2)),
        ("1 text of 16 tokens", batch((16,))),
    ):
        with torch.inference_mode():
            difference = (ours(**inputs)[0] - theirs(**inputs)[0])[inputs["attention_mask"].bool()].abs().max().item()
            rounds = [
                (milliseconds(lambda: ours(**inputs)), milliseconds(lambda: theirs(**inputs)))  # noqa: B023
                for _ in range(arguments.rounds)
            ]
        mine, other = (median(times) for times in zip(*rounds, strict=True))
        print(f"{name:36}{mine:>7.1f} ms{other:>12.1f} ms{other / mine:>7.2f}x{difference:>13.1e}")


if __name__ == "__main__":
    main()
