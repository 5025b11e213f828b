"""Beam search: of all texts that were begun, only the likeliest are continued."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from registry.generation.logits import penalize, spared
from registry.generation.prompts import (
    EndIds,
    WhenFull,
    check_finite,
    check_positive,
    check_whole,
    end_ids,
    prompts_of,
)
from registry.generation.state import CausalModel, Texts
from registry.nn.conv1d import turned


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
    """Continue each prompt by its likeliest continuations, as far as following ``num_beams`` at a time finds them.

    A text ends with an end token that is among the ``num_beams`` best next tokens of all texts of its prompt, or with
    the last step.  Its score is the log-probability of what was written, divided by its length to the power of
    ``length_penalty``.  A prompt is done as soon as ``num_beams`` texts have ended.  The best ``num_return_sequences``
    of them are returned, the best first, side by side.
    """
    check_whole("num_beams", num_beams)
    check_whole("num_return_sequences", num_return_sequences, most=num_beams)
    check_finite("length_penalty", length_penalty)
    check_positive("repetition_penalty", repetition_penalty)
    prompts = prompts_of(input_ids, attention_mask)
    ends = end_ids(eos_token_id, input_ids.device)
    enough = num_beams * max(2, 1 + len(ends))  # that many go on even where all texts could end
    with torch.inference_mode(), turned(model, max_new_tokens):
        texts = Texts(model, prompts, max_new_tokens, when_full, best=spared(enough, repetition_penalty))
        ended = _search(texts, ends, num_beams, enough, length_penalty, repetition_penalty)
        best = [text.ids for of_prompt in ended for text in of_prompt[:num_return_sequences]]
        new = pad_sequence(best, batch_first=True, padding_value=int(ends[0]) if len(ends) else 0)
    return prompts.followed_by(new)


class Ended(NamedTuple):
    """A text that was written to its end."""

    score: float
    ids: Tensor
    """What was written, ``(tokens,)``."""


class Steps(NamedTuple):
    """Steps that could come next, for each prompt the best first; all ``(prompts, steps)``."""

    totals: Tensor
    """Log-probability of what is written then."""
    rows: Tensor
    """Which text goes on."""
    tokens: Tensor
    """By which token."""

    def at(self, places: Tensor) -> "Steps":
        """Some of the steps of each prompt, ``(prompts, places)``."""
        return Steps(*(values.gather(1, places) for values in self))


def _search(
    texts: Texts, ends: Tensor, num_beams: int, enough: int, length_penalty: float, repetition_penalty: float
) -> list[list[Ended]]:
    """The best ``num_beams`` ended texts of each prompt, best first."""
    totals = torch.zeros(
        len(texts.ids), 1, device=texts.ids.device
    )  # of the beams of each prompt: at first there is one
    ended: list[list[Ended]] = [[] for _ in totals]
    while True:
        scores = texts.read().float().log_softmax(dim=-1)
        check_whole("num_beams", num_beams, most=scores.shape[1] - len(ends))
        steps = _best_steps(totals, penalize(scores, texts.ids, repetition_penalty), enough)
        last = texts.room == 1
        ending = torch.isin(steps.tokens, ends) | last
        for number, found in enumerate(ended):
            if len(found) < num_beams:
                places = ending[number, :num_beams].nonzero().flatten()
                found += _end(texts, Steps(*(values[number, places] for values in steps)), length_penalty)
                found.sort(key=lambda text: text.score, reverse=True)
                del found[num_beams:]
        if last or all(len(found) == num_beams for found in ended):
            return ended
        going = ending.int().sort(dim=1, stable=True).indices[:, :num_beams]  # the best that do not end
        totals, rows, tokens = steps.at(going)
        texts.take(rows.flatten())
        texts.write(tokens.flatten())


def _best_steps(totals: Tensor, scores: Tensor, count: int) -> Steps:
    """The best ``count`` steps from beams that have ``totals``, ``(prompts, beams)``, by ``scores`` of next tokens."""
    prompts, beams = totals.shape
    vocabulary = scores.shape[1]
    sums = (totals.view(-1, 1) + scores).view(prompts, beams * vocabulary)
    totals, places = sums.topk(min(count, sums.shape[1]))
    first = beams * torch.arange(prompts, device=places.device)[:, None]
    return Steps(totals, first + places // vocabulary, places % vocabulary)


def _end(texts: Texts, steps: Steps, length_penalty: float) -> list[Ended]:
    """What texts are after ``steps`` of one prompt, ``(steps,)``, each the last of its text."""
    written = torch.cat([texts.new[steps.rows], steps.tokens[:, None]], dim=1)
    scores = steps.totals / written.shape[1] ** length_penalty
    return [Ended(score, ids) for score, ids in zip(scores.tolist(), written, strict=True)]
