"""Logits processors: what is done to the logits of next tokens, ``(rows, vocabulary)``, before one is selected."""

import math

import torch
from torch import Tensor


def penalize_repetition(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Make tokens that are in the text already less likely, each once, however often it is there.

    Args:
        logits: ``(rows, vocabulary)``.
        ids: The text so far, ``(rows, tokens)``.
        penalty: What their logits are divided by (Keskar et al., 2019, section 4.1), or multiplied where negative.

    Returns:
        The shape of ``logits``.
    """
    if penalty == 1.0:
        return logits
    logits = logits.float()
    known = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(known < 0, known * penalty, known / penalty))


def top_logits_needed(top: int | None, penalty: float) -> int | None:
    """How many of a model's highest logits matter where ``top`` do after the penalty, which may lower any; or None."""
    return top if penalty == 1.0 else None


def keep_top_k(logits: Tensor, k: int | None) -> Tensor:
    """Keep the ``k`` highest logits, and those equal to the lowest of them (Fan et al., 2018); all for None."""
    if k is None or k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -math.inf)


def keep_top_p(logits: Tensor, p: float | None) -> Tensor:
    """Keep the fewest that together have the probability ``p`` (Holtzman et al., 2019, section 3.1); all for None."""
    if p is None or p == 1.0:
        return logits
    ascending, order = logits.sort(dim=-1)
    removed = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    removed[:, -1] = False  # one is left, however small p is
    return logits.masked_fill(removed.scatter(1, order, removed), -math.inf)
