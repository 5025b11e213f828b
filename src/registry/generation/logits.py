"""What is done to the scores of next tokens, ``(texts, vocabulary)``, before one is chosen."""

import math

import torch
from torch import Tensor


def penalize(scores: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Make the ids in ``written``, ``(texts, tokens)``, less likely, each once, however often it was written.

    Their scores are divided by ``penalty`` (Keskar et al., 2019, section 4.1), or multiplied where they are negative.
    """
    if penalty == 1.0:
        return scores
    scores = scores.float()
    known = scores.gather(1, written)
    return scores.scatter(1, written, torch.where(known < 0, known * penalty, known / penalty))


def spared(best: int | None, penalty: float) -> int | None:
    """How many of the highest scores will be looked at, where ``best`` will be after ``penalty``; None for any."""
    return best if penalty == 1.0 else None


def keep_top_k(scores: Tensor, k: int | None) -> Tensor:
    """Leave the ``k`` highest scores, and those equal to the lowest of them (Fan et al., 2018); all for None."""
    if k is None or k >= scores.shape[-1]:
        return scores
    return scores.masked_fill(scores < scores.topk(k).values[:, -1:], -math.inf)


def keep_top_p(scores: Tensor, p: float | None) -> Tensor:
    """Leave the fewest that together have the probability ``p`` (Holtzman et al., 2019, section 3.1); all for None."""
    if p is None or p == 1.0:
        return scores
    ascending, order = scores.sort(dim=-1)
    surplus = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    surplus[:, -1] = False  # one is left, however small p is
    return scores.masked_fill(surplus.scatter(1, order, surplus), -math.inf)
