"""Stopping criteria: what ends a sequence, next to its end tokens.

A criterion is a callable that takes the ids so far, ``(rows, tokens)``, and the scores of the last step,
``(rows, vocabulary)``, and returns which rows end, ``(rows,)``, or one bool for all; those of transformers are such
callables.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer

StoppingCriterion: TypeAlias = Callable[[Tensor, Tensor], Tensor | bool]
"""Takes ids so far, ``(rows, tokens)``, and the last scores; returns which rows end, ``(rows,)``."""


def stopped(criteria: Sequence[StoppingCriterion], input_ids: Tensor, scores: Tensor) -> Tensor:
    """Which rows some criterion ends, ``(rows,)``."""
    ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    for ends in criteria:
        ended |= torch.as_tensor(ends(input_ids, scores), dtype=torch.bool, device=ended.device)
    return ended


def after_seconds(limit: float) -> StoppingCriterion:
    """End all rows once so many seconds have passed, from now on."""
    end = time.monotonic() + limit
    return lambda _input_ids, _scores: time.monotonic() >= end


def at_strings(strings: Sequence[str], tokenizer: "Tokenizer", padding: Tensor) -> StoppingCriterion:
    """End a row whose last token completes one of ``strings`` in the text, wherever in the token that is.

    Args:
        strings: The strings; none is empty.
        tokenizer: The tokenizer of the ids.
        padding: Columns of padding on the left of each prompt, ``(prompts,)``, whose rows are neighbors.
    """
    # A token stands for a byte at least.
    window = 1 + max(len(string.encode("utf-8", "surrogatepass")) for string in strings)

    def completes(ids: list[int]) -> bool:
        text = tokenizer.decode(ids)
        known = len(tokenizer.decode(ids[:-1]).rstrip("\ufffd"))  # of a character some bytes may be still to come
        return any(text.find(string, max(0, known - len(string) + 1)) >= 0 for string in strings)

    def criterion(input_ids: Tensor, _scores: Tensor) -> Tensor:
        first = padding.repeat_interleave(len(input_ids) // len(padding)).tolist()
        return torch.tensor(
            [
                completes(row[max(start, len(row) - window) :])
                for start, row in zip(first, input_ids.tolist(), strict=True)
            ]
        )

    return criterion
