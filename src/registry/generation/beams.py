"""Beam search: of all continuations so far, only the likeliest are continued."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from registry.generation.logits import penalize_repetition, top_logits_needed
from registry.generation.prompts import (
    EndIds,
    WhenFull,
    check_finite,
    check_positive,
    check_positive_int,
    end_ids,
    prompts_of,
)
from registry.generation.state import CausalModel, DecodingState
from registry.nn.onednn import for_decoding


def beam_search(
    model: CausalModel,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    eos_token_id: EndIds = None,
    num_return_sequences: int = 1,
    when_full: WhenFull = "error",
) -> Tensor:
    """Beam search: continue each prompt by its likeliest continuations, as far as ``num_beams`` at a time find them.

    A hypothesis ends with an end
    token that is among the ``num_beams`` best next tokens of all beams of its prompt, or with the last step.  Its score
    is the log-probability of the new tokens, divided by their number to the power of ``length_penalty``.  A prompt is
    done as soon as ``num_beams`` hypotheses have ended.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        num_beams: Continuations of each prompt that are followed at a time.
        length_penalty: Above 0, prefers longer texts; below, shorter ones.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        eos_token_id: The id, or the ids, that end a text.  An ended text is padded with the first of them.
        num_return_sequences: Texts for each prompt, the best first, in neighboring rows.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.

    Returns:
        Prompts and new tokens, ``(batch * num_return_sequences, tokens)``, padded on the left.

    Raises:
        InputError: An argument makes no sense, or the context cannot hold the text.
    """
    check_positive_int("num_beams", num_beams)
    check_positive_int("num_return_sequences", num_return_sequences, most=num_beams)
    check_finite("length_penalty", length_penalty)
    check_positive("repetition_penalty", repetition_penalty)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)
    enough = num_beams * max(2, 1 + len(ends))  # so many that num_beams continue even where all others end
    with torch.inference_mode(), for_decoding(model, max_new_tokens):
        top = top_logits_needed(enough, repetition_penalty)
        state = DecodingState(model, prompts, max_new_tokens, when_full, top)
        ended = _search(state, ends, num_beams, enough, length_penalty, repetition_penalty)
        best = [text.ids for of_prompt in ended for text in of_prompt[:num_return_sequences]]
        new = pad_sequence(best, batch_first=True, padding_value=int(ends[0]) if len(ends) else 0)
    return prompts.followed_by(new)


class Hypothesis(NamedTuple):
    """A continuation that has ended."""

    score: float
    ids: Tensor
    """The new tokens, ``(tokens,)``."""


class Steps(NamedTuple):
    """Possible next steps of each prompt, the best first; all ``(prompts, steps)``."""

    totals: Tensor
    """Log-probability of the new tokens after the step."""
    rows: Tensor
    """The beam that is continued."""
    tokens: Tensor
    """The token that continues it."""

    def at(self, numbers: Tensor) -> "Steps":
        """Some of the steps of each prompt, ``(prompts, numbers)``."""
        return Steps(*(values.gather(1, numbers) for values in self))


def _search(
    state: DecodingState, ends: Tensor, num_beams: int, enough: int, length_penalty: float, repetition_penalty: float
) -> list[list[Hypothesis]]:
    """The best ``num_beams`` hypotheses of each prompt, best first."""
    totals = torch.zeros(
        len(state.ids), 1, device=state.ids.device
    )  # of the beams of each prompt: at first there is one
    ended: list[list[Hypothesis]] = [[] for _ in totals]
    while True:
        scores = state.read().float().log_softmax(dim=-1)
        check_positive_int("num_beams", num_beams, most=scores.shape[1] - len(ends))
        steps = _best_steps(totals, penalize_repetition(scores, state.ids, repetition_penalty), enough)
        last = state.room == 1
        ending = torch.isin(steps.tokens, ends) | last
        for number, found in enumerate(ended):
            if len(found) < num_beams:
                columns = ending[number, :num_beams].nonzero().flatten()
                found += _end(state, Steps(*(values[number, columns] for values in steps)), length_penalty)
                found.sort(key=lambda text: text.score, reverse=True)
                del found[num_beams:]
        if last or all(len(found) == num_beams for found in ended):
            return ended
        going = ending.int().sort(dim=1, stable=True).indices[:, :num_beams]  # the best that do not end
        totals, rows, tokens = steps.at(going)
        state.reorder(rows.flatten())
        state.append(tokens.flatten())


def _best_steps(totals: Tensor, scores: Tensor, count: int) -> Steps:
    """The best ``count`` steps from beams that have ``totals``, ``(prompts, beams)``, by ``scores`` of next tokens."""
    prompts, beams = totals.shape
    vocabulary = scores.shape[1]
    sums = (totals.view(-1, 1) + scores).view(prompts, beams * vocabulary)
    totals, columns = sums.topk(min(count, sums.shape[1]))
    first = beams * torch.arange(prompts, device=columns.device)[:, None]
    return Steps(totals, first + columns // vocabulary, columns % vocabulary)


def _end(state: DecodingState, steps: Steps, length_penalty: float) -> list[Hypothesis]:
    """The hypotheses that ``steps`` of one prompt, ``(steps,)``, end."""
    new = torch.cat([state.new[steps.rows], steps.tokens[:, None]], dim=1)
    scores = steps.totals / new.shape[1] ** length_penalty
    return [Hypothesis(score, ids) for score, ids in zip(scores.tolist(), new, strict=True)]
