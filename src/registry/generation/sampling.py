"""Greedy decoding and sampling: one token at a time, each final."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from registry.generation.logits import keep_top_k, keep_top_p, penalize_repetition, top_logits_needed
from registry.generation.prompts import EndIds, WhenFull, check_positive, check_positive_int, end_ids, prompts_of
from registry.generation.state import CausalModel, DecodingState
from registry.nn.onednn import for_decoding

OnToken: TypeAlias = Callable[[Tensor], object]
"""Called with the ids of each step, ``(rows,)``, as soon as they are selected."""


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
    """Greedy decoding: continue each prompt by the likeliest token, again and again.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        eos_token_id: The id, or the ids, that end a text.  An ended text is padded with the first of them.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.
        on_token: Called with the ids of each step, ``(batch,)``.

    Returns:
        Prompts and new tokens, ``(batch, tokens)``, padded on the left.

    Raises:
        InputError: An argument makes no sense, or the context cannot hold the text.
    """
    check_positive("repetition_penalty", repetition_penalty)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)

    def select(logits: Tensor, ids: Tensor) -> Tensor:
        logits = penalize_repetition(logits.float(), ids, repetition_penalty)  # bfloat16 is slow to compare
        return logits.argmax(dim=-1)

    with torch.inference_mode(), for_decoding(model, max_new_tokens):
        top = top_logits_needed(1, repetition_penalty)
        state = DecodingState(model, prompts, max_new_tokens, when_full, top)
        new = _generate(state, state.read(), select, ends, on_token)
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
    """Sampling: continue each prompt by random tokens.

    Logits are penalized for
    repetition, divided by ``temperature``, and reduced to the ``top_k`` highest, then to the fewest that together have
    the probability ``top_p``.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        temperature: Above 1 for more variety, below for less.
        top_k: How many tokens are sampled from; None for all.
        top_p: Their probability; None for all.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        eos_token_id: The id, or the ids, that end a text.  An ended text is padded with the first of them.
        num_return_sequences: Texts for each prompt, in neighboring rows.
        generator: Source of random numbers; torch's own unless given.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.
        on_token: Called with the ids of each step, ``(batch * num_return_sequences,)``.

    Returns:
        Prompts and new tokens, ``(batch * num_return_sequences, tokens)``, padded on the left.

    Raises:
        InputError: An argument makes no sense, or the context cannot hold the text.
    """
    check_positive("repetition_penalty", repetition_penalty)
    check_positive("temperature", temperature)
    check_positive_int("top_k", 1 if top_k is None else top_k)
    check_positive("top_p", 1.0 if top_p is None else top_p, most=1.0)
    check_positive_int("num_return_sequences", num_return_sequences)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)

    def select(logits: Tensor, ids: Tensor) -> Tensor:
        logits = penalize_repetition(logits.float(), ids, repetition_penalty) / temperature
        likely = keep_top_p(keep_top_k(logits, top_k), top_p)
        return likely.softmax(dim=-1).multinomial(1, generator=generator).squeeze(1)

    with torch.inference_mode(), for_decoding(model, max_new_tokens):
        top = top_logits_needed(top_k, repetition_penalty)
        state = DecodingState(model, prompts, max_new_tokens, when_full, top)
        logits = state.read()  # of each prompt once, however many texts continue it
        if num_return_sequences > 1:
            rows = torch.arange(len(logits), device=logits.device).repeat_interleave(num_return_sequences)
            state.reorder(rows)
            logits = logits[rows]
        new = _generate(state, logits, select, ends, on_token)
    return prompts.followed_by(new)


def _generate(
    state: DecodingState,
    logits: Tensor,
    select: Callable[[Tensor, Tensor], Tensor],
    ends: Tensor,
    on_token: OnToken | None,
) -> Tensor:
    """Append tokens until there is no room or all texts have ended; ``select`` makes them of logits and ids so far."""
    ended = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    while True:
        tokens = select(logits, state.ids)
        if len(ends):
            tokens = ends[0].where(ended, tokens)
            ended |= torch.isin(tokens, ends)
        state.append(tokens)
        if on_token is not None:
            on_token(tokens)
        if not state.room or (len(ends) and ended.all()):
            return state.new
        logits = state.read()
