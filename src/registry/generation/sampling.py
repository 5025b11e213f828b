"""Writing token by token, each chosen for good: the likeliest one, or a random one."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from registry.generation.logits import keep_top_k, keep_top_p, penalize, spared
from registry.generation.prompts import EndIds, WhenFull, check_positive, check_whole, end_ids, prompts_of
from registry.generation.state import CausalModel, Texts
from registry.nn.conv1d import turned

OnToken: TypeAlias = Callable[[Tensor], object]
"""Is given the ids of each step, ``(texts,)``, as soon as they are chosen."""


def greedy(
    model: CausalModel,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    max_new_tokens: int,
    repetition_penalty: float = 1.0,
    eos_token_id: EndIds = None,
    when_full: WhenFull = "error",
    on_token: OnToken | None = None,
) -> Tensor:
    """Continue each prompt by the likeliest token, again and again; the arguments are those of all decoding.

    ``on_token`` is called with the ids of each step, ``(batch,)``.
    """
    check_positive("repetition_penalty", repetition_penalty)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)

    def choose(scores: Tensor, written: Tensor) -> Tensor:
        return penalize(scores.float(), written, repetition_penalty).argmax(dim=-1)  # bfloat16 is slow to compare

    with torch.inference_mode(), turned(model, max_new_tokens):
        texts = Texts(model, prompts, max_new_tokens, when_full, best=spared(1, repetition_penalty))
        new = _write(texts, texts.read(), choose, ends, on_token)
    return prompts.followed_by(new)


def sample(
    model: CausalModel,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    eos_token_id: EndIds = None,
    num_return_sequences: int = 1,
    generator: torch.Generator | None = None,
    when_full: WhenFull = "error",
    on_token: OnToken | None = None,
) -> Tensor:
    """Continue each prompt by random tokens, ``num_return_sequences`` times: as many rows for each, side by side.

    Scores are penalised for repetition, divided by ``temperature``, reduced to the ``top_k`` highest, then to the
    fewest that together have the probability ``top_p``; ``generator`` draws from these.  ``on_token`` as for
    ``greedy``.
    """
    check_positive("repetition_penalty", repetition_penalty)
    check_positive("temperature", temperature)
    check_whole("top_k", 1 if top_k is None else top_k)
    check_positive("top_p", 1.0 if top_p is None else top_p, most=1.0)
    check_whole("num_return_sequences", num_return_sequences)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)

    def choose(scores: Tensor, written: Tensor) -> Tensor:
        scores = penalize(scores.float(), written, repetition_penalty) / temperature
        likely = keep_top_p(keep_top_k(scores, top_k), top_p)
        return likely.softmax(dim=-1).multinomial(1, generator=generator).squeeze(1)

    with torch.inference_mode(), turned(model, max_new_tokens):
        texts = Texts(model, prompts, max_new_tokens, when_full, best=spared(top_k, repetition_penalty))
        scores = texts.read()  # of each prompt once, however many texts follow it
        if num_return_sequences > 1:
            rows = torch.arange(len(scores), device=scores.device).repeat_interleave(num_return_sequences)
            texts.take(rows)
            scores = scores[rows]
        new = _write(texts, scores, choose, ends, on_token)
    return prompts.followed_by(new)


def _write(
    texts: Texts,
    scores: Tensor,
    choose: Callable[[Tensor, Tensor], Tensor],
    ends: Tensor,
    on_token: OnToken | None,
) -> Tensor:
    """Write until there is no room or all texts have ended; ``choose`` makes tokens of scores and the texts' ids."""
    ended = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    while True:
        tokens = choose(scores, texts.ids)
        if len(ends):
            tokens = ends[0].where(ended, tokens)
            ended |= torch.isin(tokens, ends)
        texts.write(tokens)
        if on_token is not None:
            on_token(tokens)
        if not texts.room or (len(ends) and ended.all()):
            return texts.new
        scores = texts.read()
