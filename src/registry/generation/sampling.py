"""Greedy decoding and sampling: one token at a time, each final."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

from registry.generation.logits import (
    LogitsProcessor,
    divide_by_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalize_repetition,
    processed,
)
from registry.generation.output import Record
from registry.generation.prompts import (
    EndIds,
    WhenFull,
    check_positive,
    check_positive_int,
    end_ids,
    padding_id,
    prompts_of,
)
from registry.generation.state import CausalModel, DecodingState
from registry.generation.stopping import StoppingCriterion, stopped
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
    logits_processor: Sequence[LogitsProcessor] = (),
    stopping_criteria: Sequence[StoppingCriterion] = (),
    eos_token_id: EndIds = None,
    pad_token_id: int | None = None,
    when_full: WhenFull = "error",
    on_token: OnToken | None = None,
    record: Record | None = None,
) -> Tensor:
    """Greedy decoding: repeatedly continue each prompt by the most likely token.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        logits_processor: What else is done to the logits, in this order, before a token is selected; see
            ``registry.generation.logits``.
        stopping_criteria: What else ends a text; see ``registry.generation.stopping``.
        eos_token_id: The id, or the ids, that end a text.
        pad_token_id: The id after the end of a text; None for the first end token.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.
        on_token: Called with the ids of each step, ``(batch,)``.
        record: Takes the scores of each step.

    Returns:
        Prompts and new tokens, ``(batch, tokens)``, padded on the left.

    Raises:
        InputError: An argument is invalid, or the context cannot hold the text.
    """
    processors = [*repetition(repetition_penalty), *logits_processor]
    prompts = prompts_of(input_ids, attention_mask)
    ends = Ends.of(eos_token_id, pad_token_id, stopping_criteria, input_ids.device)
    select = Selection(processors, lambda scores: scores.max(dim=-1).indices, on_token, record)
    with torch.inference_mode(), for_decoding(model, max_new_tokens, len(input_ids)):
        state = DecodingState(model, prompts, max_new_tokens, when_full, None if processors or record else 1)
        new = _generate(state, state.read(), select, ends)
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
    min_p: float | None = None,
    typical_p: float | None = None,
    repetition_penalty: float = 1.0,
    logits_processor: Sequence[LogitsProcessor] = (),
    stopping_criteria: Sequence[StoppingCriterion] = (),
    eos_token_id: EndIds = None,
    pad_token_id: int | None = None,
    num_return_sequences: int = 1,
    generator: torch.Generator | None = None,
    when_full: WhenFull = "error",
    on_token: OnToken | None = None,
    record: Record | None = None,
) -> Tensor:
    """Sampling: continue each prompt by random tokens.

    Logits are penalized for repetition, processed, divided by ``temperature``, and reduced to the ``top_k`` highest, to
    the fewest that together have the probability ``top_p``, to those above ``min_p``, and to the typical ones.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        temperature: Above 1 for more variety, below for less.
        top_k: How many tokens are sampled from; None for all.
        top_p: Their probability; None for all.
        min_p: The least probability of a token, as a share of that of the most likely; None for none.
        typical_p: The probability of the tokens whose information is nearest to the entropy; None for all.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        logits_processor: What else is done to the logits, in this order, before a token is selected; see
            ``registry.generation.logits``.
        stopping_criteria: What else ends a text; see ``registry.generation.stopping``.
        eos_token_id: The id, or the ids, that end a text.
        pad_token_id: The id after the end of a text; None for the first end token.
        num_return_sequences: Texts for each prompt, in neighboring rows.
        generator: Source of random numbers; torch's own unless given.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.
        on_token: Called with the ids of each step, ``(batch * num_return_sequences,)``.
        record: Takes the scores of each step.

    Returns:
        Prompts and new tokens, ``(batch * num_return_sequences, tokens)``, padded on the left.

    Raises:
        InputError: An argument is invalid, or the context cannot hold the text.
    """
    check_positive_int("num_return_sequences", num_return_sequences)
    before = [*repetition(repetition_penalty), *logits_processor]
    processors = [*before, *_warpers(temperature, top_k, top_p, min_p, typical_p)]
    prompts = prompts_of(input_ids, attention_mask)
    ends = Ends.of(eos_token_id, pad_token_id, stopping_criteria, input_ids.device)

    def draw(scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1).multinomial(1, generator=generator).squeeze(1)

    select = Selection(processors, draw, on_token, record)
    rows = len(input_ids) * num_return_sequences
    with torch.inference_mode(), for_decoding(model, max_new_tokens, rows):
        state = DecodingState(model, prompts, max_new_tokens, when_full, None if before or record else top_k)
        logits = state.read()  # of each prompt once, however many texts continue it
        if num_return_sequences > 1:
            copies = torch.arange(len(logits), device=logits.device).repeat_interleave(num_return_sequences)
            state.reorder(copies)
            logits = logits[copies]
        new = _generate(state, logits, select, ends)
    return prompts.followed_by(new)


def repetition(penalty: float) -> list[LogitsProcessor]:
    """The processor for a penalty of repetition, if it changes anything.

    Raises:
        InputError: The penalty is not above 0.
    """
    check_positive("repetition_penalty", penalty)
    return [] if penalty == 1.0 else [partial(penalize_repetition, penalty=penalty)]


def _warpers(
    temperature: float, top_k: int | None, top_p: float | None, min_p: float | None, typical_p: float | None
) -> list[LogitsProcessor]:
    """The processors that shape what is sampled from."""
    check_positive("temperature", temperature)
    check_positive_int("top_k", 1 if top_k is None else top_k)
    for name, p in (("top_p", top_p), ("min_p", min_p), ("typical_p", typical_p)):
        check_positive(name, 1.0 if p is None else p, most=1.0)
    shaping: list[LogitsProcessor] = [partial(divide_by_temperature, temperature=temperature)]
    if top_k is not None:
        shaping.append(partial(keep_top_k, k=top_k))
    for keep, p in ((keep_top_p, top_p), (keep_min_p, min_p), (keep_typical, typical_p)):
        if p is not None:
            shaping.append(partial(keep, p=p))
    return shaping


class Ends(NamedTuple):
    """What ends a text."""

    ids: Tensor
    """End tokens, ``(ids,)``."""
    pad: int
    """The id after the end."""
    criteria: Sequence[StoppingCriterion]
    """What ends it otherwise."""

    @classmethod
    def of(
        cls, eos_token_id: EndIds, pad_token_id: int | None, criteria: Sequence[StoppingCriterion], device: torch.device
    ) -> Self:
        """The ends that arguments name."""
        ids = end_ids(eos_token_id, device)
        return cls(ids, padding_id(pad_token_id, ids), tuple(criteria))

    def __bool__(self) -> bool:
        return bool(len(self.ids) or self.criteria)


class Selection(NamedTuple):
    """How the next tokens are selected, and who learns of them."""

    processors: Sequence[LogitsProcessor]
    pick: Callable[[Tensor], Tensor]
    """Makes tokens, ``(rows,)``, of processed scores, ``(rows, vocabulary)``."""
    on_token: OnToken | None
    record: Record | None


def _generate(state: DecodingState, logits: Tensor, select: Selection, ends: Ends) -> Tensor:
    """Append tokens until there is no room or all texts have ended."""
    ended = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    while True:
        scores = processed(select.processors, state.ids, logits.float())  # bfloat16 is slow to compare
        tokens, ended = state.same_step(select.pick(scores), ended)
        if select.record is not None:
            select.record.add(scores, tokens, ended)
        if ends:
            tokens = tokens.masked_fill(ended, ends.pad)
            ended |= torch.isin(tokens, ends.ids)
        state.append(tokens)
        if ends.criteria:
            ended |= stopped(ends.criteria, state.ids, scores)
        if select.on_token is not None:
            select.on_token(tokens)
        if not state.room or state.is_finished(bool(ends and ended.all())):
            return state.new
        logits = state.read()
