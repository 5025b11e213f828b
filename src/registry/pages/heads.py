"""Patterns of attention heads: the share of a head's attention that goes to the token before, to itself, and so on.

Clark et al. (2019, "What Does BERT Look At?", section 3) find heads that attend to these tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PATTERNS = ("previous token", "next token", "itself", "first token", "last token", "other text")
"""The patterns; the last one needs two texts."""
MOST_STRIKING = 8
"""Heads that are listed."""
STRIKING = 0.4
"""The share from which a head is listed."""
EACH = 2
"""Heads that are listed of each pattern."""


def profiles(weights: Tensor, parts: Sequence[int | None]) -> Tensor:
    """The mean share of attention that each head gives to the tokens of each pattern.

    Args:
        weights: ``(layers, heads, tokens, tokens)``.
        parts: The text of each token, 0 or 1; None for an added one.

    Returns:
        ``(layers, heads, patterns)``; without the last pattern where there is one text.
    """
    count = weights.shape[-1]
    columns = [
        _diagonal(weights, -1),
        _diagonal(weights, 1),
        _diagonal(weights, 0),
        weights[..., 0].mean(-1),
        weights[..., count - 1].mean(-1),
    ]
    if 1 in parts:
        columns.append(_to_the_other(weights, parts))
    return torch.stack(columns, dim=-1)


def striking(found: Tensor) -> list[dict[str, Any]]:
    """The heads with the largest shares, at most two of each pattern: layer, head, pattern and share."""
    heads = found.shape[1]
    listed = []
    for number in range(found.shape[-1]):
        shares, places = found[..., number].flatten().sort(descending=True, stable=True)
        for share, place in zip(shares[:EACH].tolist(), places[:EACH].tolist(), strict=True):
            if share >= STRIKING:
                listed.append(
                    {"layer": place // heads, "head": place % heads, "pattern": PATTERNS[number], "share": share}
                )
    return sorted(listed, key=lambda head: -head["share"])[:MOST_STRIKING]


def _diagonal(weights: Tensor, offset: int) -> Tensor:
    found = weights.diagonal(offset, dim1=-2, dim2=-1)
    return found.mean(-1) if found.shape[-1] else weights.new_zeros(weights.shape[:2])


def _to_the_other(weights: Tensor, parts: Sequence[int | None]) -> Tensor:
    first = torch.tensor([part == 0 for part in parts])
    second = torch.tensor([part == 1 for part in parts])
    other = first[:, None] & second[None] | second[:, None] & first[None]
    rows = (first | second).sum()
    return (weights * other).sum((-2, -1)) / rows
