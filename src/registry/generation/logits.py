"""Logits processors: what is done to the logits of next tokens before one is selected.

A processor is a callable that takes the ids so far, ``(rows, tokens)``, and the logits, ``(rows, vocabulary)``, and
returns new logits; those of transformers are such callables.  Where rows are padded, the ids at padding are the last
token of the prompt.  In beam search the logits are log-probabilities.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import chain, groupby
from typing import TypeAlias

import torch
from torch import Tensor

from registry.errors import InputError

LogitsProcessor: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes ids so far, ``(rows, tokens)``, and logits, ``(rows, vocabulary)``; returns new logits."""


def processed(processors: Sequence[LogitsProcessor], input_ids: Tensor, scores: Tensor) -> Tensor:
    """What the processors make of the scores, each of those of the one before."""
    return reduce(lambda before, process: process(input_ids, before), processors, scores)


# --- Which tokens may not follow --------------------------------------------------------------------------------------


def penalize_repetition(input_ids: Tensor, scores: Tensor, penalty: float) -> Tensor:
    """Make tokens that are in the text already less likely, each once, however often it is there.

    Args:
        input_ids: The text so far, ``(rows, tokens)``.
        scores: Logits, ``(rows, vocabulary)``.
        penalty: What their logits are divided by (Keskar et al., 2019, section 4.1), or multiplied where negative.

    Returns:
        The shape of ``scores``.
    """
    if penalty == 1.0:
        return scores
    known = scores.gather(1, input_ids)
    return scores.scatter(1, input_ids, torch.where(known < 0, known * penalty, known / penalty))


def forbid_repeated_ngrams(input_ids: Tensor, scores: Tensor, size: int, padding: Tensor) -> Tensor:
    """Forbid every token that would complete a sequence of ``size`` tokens which the text has already.

    Args:
        input_ids: The text so far, ``(rows, tokens)``.
        scores: Logits, ``(rows, vocabulary)``.
        size: Tokens of a sequence (Paulus et al., 2018, section 2.5, for three).
        padding: Columns of padding on the left of each prompt, ``(prompts,)``, whose rows are neighbors.
    """
    if input_ids.shape[1] < size:
        return scores
    grams = input_ids.unfold(1, size, 1)  # (rows, starts, size)
    last = input_ids[:, input_ids.shape[1] - size + 1 :]
    starts = torch.arange(grams.shape[1], device=input_ids.device)
    first = padding.repeat_interleave(len(input_ids) // len(padding))
    repeated = (grams[:, :, :-1] == last[:, None]).all(dim=-1) & (starts >= first[:, None])
    forbidden = torch.zeros_like(scores).scatter_add_(1, grams[:, :, -1], repeated.to(scores.dtype))
    return scores.masked_fill(forbidden > 0, -math.inf)


def forbid_words(input_ids: Tensor, scores: Tensor, words: Sequence[Sequence[int]]) -> Tensor:
    """Forbid the last token of each word, a sequence of ids, in texts that end with those before it.

    Raises:
        InputError: A word has an id beyond the vocabulary.
    """
    highest = max(chain.from_iterable(words), default=0)
    if highest >= scores.shape[1]:
        raise InputError(
            f"{highest} is not an id of a vocabulary of {scores.shape[1]} tokens, and so cannot be forbidden."
        )
    forbidden = torch.zeros_like(scores)
    for length, same in groupby(sorted(words, key=len), key=len):
        if length > input_ids.shape[1] + 1:
            break
        ids = input_ids.new_tensor([list(word) for word in same])  # (words, length)
        end = input_ids[:, input_ids.shape[1] - length + 1 :]
        follows = (end[:, None] == ids[:, :-1]).all(dim=-1)  # (rows, words)
        forbidden.scatter_add_(1, ids[:, -1].expand(len(scores), -1), follows.to(scores.dtype))
    return scores.masked_fill(forbidden > 0, -math.inf)


def forbid_from(_input_ids: Tensor, scores: Tensor, first: int) -> Tensor:
    """Forbid the ids from ``first`` on: a model may have more than its tokenizer, whose number was rounded up."""
    return scores.index_fill(1, torch.arange(first, scores.shape[1], device=scores.device), -math.inf)


def forbid_end(input_ids: Tensor, scores: Tensor, ends: Tensor, length: int, padding: Tensor) -> Tensor:
    """Forbid the end tokens, ``(ends,)``, of rows of fewer than ``length`` tokens, prompts included.

    Args:
        input_ids: The text so far, ``(rows, tokens)``.
        scores: Logits, ``(rows, vocabulary)``.
        ends: Their ids, ``(ends,)``; a file may name some beyond the vocabulary.
        length: Tokens of a row with which it may end.
        padding: Columns that are not counted, ``(prompts,)``, whose rows are neighbors.
    """
    forbidden = scores.index_fill(1, ends[ends < scores.shape[1]], -math.inf)
    return forbidden.where((_lengths(input_ids, padding) < length)[:, None], scores)


def force_at(input_ids: Tensor, scores: Tensor, tokens: Tensor, length: int, padding: Tensor) -> Tensor:
    """Forbid all next tokens but these, ``(tokens,)``, of rows of ``length`` tokens, prompts included.

    Args:
        input_ids: The text so far, ``(rows, tokens)``.
        scores: Logits, ``(rows, vocabulary)``.
        tokens: Ids, ``(tokens,)``; for none, nothing changes.
        length: Tokens of a row of which the next is forced.
        padding: Columns that are not counted, ``(prompts,)``, whose rows are neighbors.

    Raises:
        InputError: A token is not in the vocabulary.
    """
    if not len(tokens):
        return scores
    if int(tokens.max()) >= scores.shape[1]:
        raise InputError(
            f"{int(tokens.max())} is not an id of a vocabulary of {scores.shape[1]} tokens, and so cannot be forced."
        )
    forced = torch.full_like(scores, -math.inf).index_fill(1, tokens, 0.0)
    return forced.where((_lengths(input_ids, padding) == length)[:, None], scores)


def _lengths(input_ids: Tensor, padding: Tensor) -> Tensor:
    """Tokens of each row, ``(rows,)``, without columns that are not counted."""
    return input_ids.shape[1] - padding.repeat_interleave(len(input_ids) // len(padding))


# --- Which tokens are sampled from ------------------------------------------------------------------------------------


COLDEST = 1e-30
"""A temperature at which the highest logit has all of the probability; divided by less, logits would overflow."""


def divide_by_temperature(_input_ids: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Divide the logits: above 1 the distribution becomes flatter, below 1 steeper."""
    return scores / max(temperature, COLDEST)


def keep_top_k(_input_ids: Tensor, scores: Tensor, k: int) -> Tensor:
    """Keep the ``k`` highest logits, and those equal to the lowest of them (Fan et al., 2018)."""
    if k >= scores.shape[-1]:
        return scores
    return scores.masked_fill(scores < scores.topk(k).values[:, -1:], -math.inf)


def keep_top_p(_input_ids: Tensor, scores: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens that together have the probability ``p`` (Holtzman et al., 2020, section 3.1)."""
    if p == 1.0:
        return scores
    ascending, order = scores.sort(dim=-1)
    removed = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    removed[:, -1] = False  # one is left, however small p is
    return scores.masked_fill(removed.scatter(1, order, removed), -math.inf)


def keep_min_p(_input_ids: Tensor, scores: Tensor, p: float) -> Tensor:
    """Keep tokens at least ``p`` times as likely as the most likely (Nguyen et al., 2024, section 3)."""
    probabilities = scores.softmax(dim=-1)
    return scores.masked_fill(probabilities < p * probabilities.amax(dim=-1, keepdim=True), -math.inf)


def keep_typical(_input_ids: Tensor, scores: Tensor, p: float) -> Tensor:
    """Keep the tokens whose information is nearest to the entropy, and that together have the probability ``p``.

    Source: Meister et al., 2023, "Locally typical sampling", section 3.
    """
    log_probs = scores.log_softmax(dim=-1)
    probabilities = log_probs.exp()
    entropy = -(log_probs * probabilities).nansum(dim=-1, keepdim=True)  # 0 times -inf is not a number
    distances, order = (-log_probs - entropy).abs().sort(dim=-1)
    mass = probabilities.gather(1, order).cumsum(dim=-1)
    last = (mass < p).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
    removed = distances > distances.gather(1, last)
    removed[:, 0] = False
    return scores.masked_fill(removed.scatter(1, order, removed), -math.inf)
