"""Modes of pooling: hidden states of tokens, ``(texts, tokens, width)``, become vectors, ``(texts, width)``.

Modes and their names are those of sentence-transformers (Reimers and Gurevych, 2019, section 3; the weighted mean is of
Muennighoff, 2022, section 4).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def _cls(hidden: Tensor, mask: Tensor) -> Tensor:
    """The first token that counts."""
    return _token(hidden, mask.int().argmax(dim=1))


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    """The last token that counts."""
    return _token(hidden, mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1))


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    """The greatest value of each feature."""
    return hidden.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of all tokens that count."""
    return _sum(hidden, mask) / mask.sum(dim=1, keepdim=True)


def _mean_sqrt(hidden: Tensor, mask: Tensor) -> Tensor:
    """Their sum, divided by the square root of their number."""
    return _sum(hidden, mask) / mask.sum(dim=1, keepdim=True).sqrt()


def _weighted(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of tokens weighted by their positions, from 1."""
    weights = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return _sum(hidden, weights) / weights.sum(dim=1, keepdim=True)


def _sum(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights[..., None].to(hidden.dtype)).sum(dim=1)


def _token(hidden: Tensor, columns: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), columns]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _cls,
    "lasttoken": _last,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted,
}
"""Mode -> function of hidden states and of the tokens that count, ``(texts, tokens)``, with padding on the right."""
