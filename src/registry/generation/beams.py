"""Beam search: of all continuations so far, only the most likely are continued."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from registry.errors import InputError
from registry.generation.logits import LogitsProcessor, processed
from registry.generation.output import Record
from registry.generation.prompts import EndIds, WhenFull, check_exponent, check_positive_int, prompts_of
from registry.generation.sampling import Ends, repetition
from registry.generation.state import CausalModel, DecodingState
from registry.generation.stopping import StoppingCriterion, stopped
from registry.nn.onednn import for_decoding

EarlyStopping: TypeAlias = bool | Literal["never"]
"""When the search for a prompt ends; see ``beam_search``."""
DEAD = -1e9
"""Log-probability of a beam that has ended and is continued for want of others."""


def beam_search(
    model: CausalModel,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False,
    repetition_penalty: float = 1.0,
    logits_processor: Sequence[LogitsProcessor] = (),
    stopping_criteria: Sequence[StoppingCriterion] = (),
    eos_token_id: EndIds = None,
    pad_token_id: int | None = None,
    num_return_sequences: int = 1,
    when_full: WhenFull = "error",
    record: Record | None = None,
) -> Tensor:
    """Beam search: continue each prompt by its most likely continuations, as far as ``num_beams`` at a time find them.

    A hypothesis ends with an end token that is among the ``num_beams`` best next tokens of all beams of its prompt, or
    with the last step.  Its score is the log-probability of the new tokens, divided by their number to the power of
    ``length_penalty``.  The best ``num_beams`` hypotheses are kept.

    Args:
        model: The model.
        input_ids: Prompts, ``(batch, tokens)``.
        attention_mask: ``(batch, tokens)``, 0 at padding, which may be on either side and of any id; each prompt is
            continued as it would be alone.
        max_new_tokens: How many tokens to generate, unless all texts end before.
        num_beams: Continuations of each prompt that are followed at a time.
        length_penalty: Above 0, prefers longer texts; below, shorter ones.
        early_stopping: When the search for a prompt ends.  With True, as soon as ``num_beams`` hypotheses have ended;
            with False, when the best beam, ending now, would not be among them; with ``"never"``, when it would not
            even if all its tokens up to the last step were certain.
        repetition_penalty: Above 1, makes tokens less likely that are in the text already, the prompt included (Keskar
            et al., 2019).
        logits_processor: What else is done to the log-probabilities, in this order; see ``registry.generation.logits``.
        stopping_criteria: What else ends a text; see ``registry.generation.stopping``.
        eos_token_id: The id, or the ids, that end a text.
        pad_token_id: The id after the end of a text; None for the first end token.
        num_return_sequences: Texts for each prompt, the best first, in neighboring rows.
        when_full: What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With
            ``"slide"`` the model drops the older half of what it sees, reads the younger half again, and continues.
        record: Takes the scores of each step, and those of the hypotheses.

    Returns:
        Prompts and new tokens, ``(batch * num_return_sequences, tokens)``, padded on the left.

    Raises:
        InputError: An argument is invalid, or the context cannot hold the text.
    """
    check_positive_int("num_beams", num_beams)
    check_positive_int("num_return_sequences", num_return_sequences, most=num_beams)
    check_exponent("length_penalty", length_penalty)
    if early_stopping not in (True, False, "never"):
        raise InputError(f"early_stopping must be True, False or 'never', not {early_stopping!r}.")
    processors = [*repetition(repetition_penalty), *logits_processor]
    prompts = prompts_of(input_ids, attention_mask)
    ends = Ends.of(eos_token_id, pad_token_id, stopping_criteria, input_ids.device)
    enough = num_beams * max(2, 1 + len(ends.ids))  # so many that num_beams continue even where all others end
    beams = Beams(num_beams, enough, length_penalty, early_stopping, max_new_tokens)
    steps: list[Tensor] | None = None if record is None else []
    with torch.inference_mode(), for_decoding(model, max_new_tokens, len(input_ids) * num_beams):
        state = DecodingState(model, prompts, max_new_tokens, when_full, None if processors or record else enough)
        ended = _search(state, processors, ends, beams, steps)
        best = [hypothesis for of_prompt in ended for hypothesis in of_prompt[:num_return_sequences]]
        new = pad_sequence([hypothesis.ids for hypothesis in best], batch_first=True, padding_value=ends.pad)
        if record is not None and steps is not None:
            _fill(record, best, steps[: new.shape[1]])
    return prompts.followed_by(new)


class Beams(NamedTuple):
    """How a search is done."""

    number: int
    """Beams of each prompt."""
    enough: int
    """Next steps of a prompt that are looked at."""
    length_penalty: float
    early_stopping: EarlyStopping
    max_new_tokens: int

    def is_done(self, found: "Sequence[Hypothesis]", total: float, tokens: int) -> bool:
        """Whether no beam can become one of the best: the best has the log-probability ``total`` after new tokens."""
        if len(found) < self.number or self.early_stopping is True:
            return len(found) == self.number
        hopeful = self.early_stopping == "never" and self.length_penalty > 0
        length = self.max_new_tokens if hopeful else tokens
        return bool(total / length**self.length_penalty <= found[-1].score)


class Hypothesis(NamedTuple):
    """A continuation that has ended."""

    score: float
    ids: Tensor
    """The new tokens, ``(tokens,)``."""
    rows: Tensor
    """The beam that each of them continues, ``(tokens,)``."""
    totals: Tensor
    """Log-probability of the new tokens up to each, ``(tokens,)``."""


def _fill(record: Record, best: Sequence[Hypothesis], steps: Sequence[Tensor]) -> None:
    """Record the scores by which the tokens of hypotheses were selected."""
    rows = pad_sequence([hypothesis.rows for hypothesis in best])  # after the end, any
    record.scores = [scores[of_step] for scores, of_step in zip(steps, rows, strict=True)]
    zero = best[0].totals.new_zeros(1)
    record.log_probs = list(pad_sequence([hypothesis.totals.diff(prepend=zero) for hypothesis in best]))
    record.sequences_scores = torch.tensor([hypothesis.score for hypothesis in best], device=rows.device)


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


class Paths:
    """How the beams came about: for each new token, ``(rows, tokens)``, the beam that it continues, and the total."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.rows = torch.empty(rows, 0, dtype=torch.long, device=device)
        self.totals = torch.empty(rows, 0, device=device)

    def after(self, rows: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """The beams ``rows`` with a further token each, which makes them ``totals``; both ``(rows, tokens)``."""
        longer = torch.cat([self.rows[rows], rows[:, None]], dim=1)
        return longer, torch.cat([self.totals[rows], totals[:, None]], dim=1)


def _search(
    state: DecodingState,
    processors: Sequence[LogitsProcessor],
    ends: Ends,
    beams: Beams,
    record: list[Tensor] | None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each prompt, best first; the scores of each step are appended to ``record``."""
    totals = torch.zeros(len(state.ids), 1, device=state.ids.device)  # of each prompt's beams: at first there is one
    ended: list[list[Hypothesis]] = [[] for _ in totals]
    done = [False for _ in totals]
    paths = Paths(len(totals), totals.device)
    while True:
        scores = processed(processors, state.ids, state.read().float().log_softmax(dim=-1))
        check_positive_int("num_beams", beams.number, most=scores.shape[1] - len(ends.ids))
        if record is not None:
            record.append(scores)
        steps = _best_steps(totals, scores, beams.enough)
        last = state.room == 1
        ending = torch.isin(steps.tokens, ends.ids) | last
        if ends.criteria:
            ending |= _stopped(state, steps, scores, ends)
        tokens, ending = state.same_step(steps.tokens, ending)
        steps = steps._replace(tokens=tokens)
        for number, found in enumerate(ended):
            if not done[number]:
                columns = ending[number, : beams.number].nonzero().flatten()
                found += _end(state, paths, Steps(*(values[number, columns] for values in steps)), beams.length_penalty)
                found.sort(key=lambda hypothesis: hypothesis.score, reverse=True)
                del found[beams.number :]
        if last:
            return ended
        going = ending.int().sort(dim=1, stable=True).indices[:, : beams.number]  # the best that do not end
        totals, rows, tokens = steps.at(going)
        totals = totals.masked_fill(ending.gather(1, going), DEAD)
        for number, (found, total) in enumerate(zip(ended, totals[:, 0].tolist(), strict=True)):
            done[number] = done[number] or beams.is_done(found, total, state.new.shape[1] + 1)
        if bool(ending.all()):
            done = [True] * len(done)
        if state.is_finished(all(done)):
            return ended
        paths.rows, paths.totals = paths.after(rows.flatten(), totals.flatten())
        state.reorder(rows.flatten())
        state.append(tokens.flatten())


def _stopped(state: DecodingState, steps: Steps, scores: Tensor, ends: Ends) -> Tensor:
    """Which steps some criterion ends, ``(prompts, steps)``."""
    rows, tokens = steps.rows.flatten(), steps.tokens.flatten()
    ids = torch.cat([state.ids[rows], tokens[:, None]], dim=1)
    return stopped(ends.criteria, ids, scores[rows]).view_as(steps.tokens)


def _best_steps(totals: Tensor, scores: Tensor, count: int) -> Steps:
    """The best ``count`` steps from beams that have ``totals``, ``(prompts, beams)``, by ``scores`` of next tokens."""
    prompts, beams = totals.shape
    vocabulary = scores.shape[1]
    sums = (totals.view(-1, 1) + scores).view(prompts, beams * vocabulary)
    totals, columns = sums.topk(min(count, sums.shape[1]))
    first = beams * torch.arange(prompts, device=columns.device)[:, None]
    return Steps(totals, first + columns // vocabulary, columns % vocabulary)


def _end(state: DecodingState, paths: Paths, steps: Steps, length_penalty: float) -> list[Hypothesis]:
    """The hypotheses that ``steps`` of one prompt, ``(steps,)``, end."""
    new = torch.cat([state.new[steps.rows], steps.tokens[:, None]], dim=1)
    rows, totals = paths.after(steps.rows, steps.totals)
    scores = (steps.totals / new.shape[1] ** length_penalty).tolist()
    return [Hypothesis(*of_step) for of_step in zip(scores, new, rows, totals, strict=True)]
