"""Perplexity: how well a causal model predicts a text, by the loss of each token after all that the model still sees.

A model with a memory reads the text once, segment by segment.  Any other reads windows, each of which begins with the
younger half of the one before, so that no token but the first ones is predicted with less than half a context.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.generation.prompts import check_positive_int
from registry.generation.state import CausalModel, starting

OnTokens = Callable[[int], object]
"""Called with the number of tokens that were predicted since the last call."""


@runtime_checkable
class ReadingModel(Protocol):
    """A causal model with a memory."""

    tgt_len: int
    """Tokens of a segment, unless given."""

    def read_on(self, input_ids: Tensor, target: Tensor, mems: Any) -> tuple[Tensor, Any]:
        """Losses of ``target``, ``(batch, tokens)``, after ids of that shape, and the memory for the next call."""
        ...


@frozen
class Evaluation:
    """Loss and perplexity of a model on a text."""

    tokens: int
    """Tokens that were predicted."""
    loss: float
    """Mean negative log-probability of a token, in nats."""

    @property
    def perplexity(self) -> float:
        """Perplexity: exp of the mean loss."""
        return math.exp(self.loss)


class _Sum(NamedTuple):
    """The sum of the losses of some tokens."""

    loss: float
    tokens: int


def evaluate(
    model: Any,
    ids: Sequence[int] | Tensor,
    *,
    batch_size: int = 1,
    segment: int | None = None,
    on_tokens: OnTokens | None = None,
) -> Evaluation:
    """Loss and perplexity of a model on a text.

    Args:
        model: A ``ReadingModel``, or a ``CausalModel`` that returns logits; in evaluation mode.
        ids: The text, all of whose tokens but the first are predicted.
        batch_size: Rows of equal length that the text is cut into, and that are read at the same time.  The rest is
            dropped, and the first token of each row is not predicted.
        segment: Tokens that are read at once; unless given, the ``tgt_len`` of a model with a memory, or the context.
        on_tokens: Called with the number of tokens that were predicted since the last call.

    Returns:
        The number of predicted tokens and their mean loss.

    Raises:
        InputError: There are less than two tokens in a row, or the model does not predict next tokens.
    """
    with starting(model):
        check_positive_int("batch_size", batch_size)
        check_positive_int("segment", 1 if segment is None else segment)
        length = len(ids) // batch_size
        if length < 2:
            raise InputError(f"{len(ids)} tokens are too few to predict some of them in each of {batch_size} rows.")
        device = next(model.parameters()).device
        rows = torch.as_tensor(ids, dtype=torch.long)[: length * batch_size].view(batch_size, length).to(device)
        parts = _sums(model, rows, segment)
        if (processes := getattr(model, "processes", None)) is not None:  # all of them compute as often
            processes.check_same(rows=tuple(rows.shape), segment=segment)
    loss, tokens = 0.0, 0
    with torch.inference_mode():
        for part in parts:
            loss, tokens = loss + part.loss, tokens + part.tokens
            if on_tokens is not None:
                on_tokens(part.tokens)
    return Evaluation(tokens, loss / tokens)


def _sums(model: Any, rows: Tensor, segment: int | None) -> Iterator[_Sum]:
    if isinstance(model, ReadingModel):
        return _by_segment(model, rows, segment or model.tgt_len)
    if isinstance(model, CausalModel):
        return _by_window(model, rows, max(2, min(segment or model.context_size, model.context_size)))
    raise InputError(f"{type(model).__name__} does not predict next tokens.")


def _by_segment(model: ReadingModel, rows: Tensor, segment: int) -> Iterator[_Sum]:
    mems = None
    for start in range(0, rows.shape[1] - 1, segment):
        both = rows[:, start : start + segment + 1]
        losses, mems = model.read_on(both[:, :-1], both[:, 1:], mems)
        yield _Sum(losses.double().sum().item(), losses.numel())


def _by_window(model: Any, rows: Tensor, window: int) -> Iterator[_Sum]:
    known = 1  # columns that were predicted, or cannot be
    while known < rows.shape[1]:
        start = 0 if known == 1 else known - (window + 1) // 2
        ids = rows[:, start : start + window]
        following = ids[:, known - start :]
        logits = model(ids).logits[:, known - start - 1 : -1]
        losses = F.cross_entropy(logits.flatten(0, 1).float(), following.flatten(), reduction="none")
        yield _Sum(losses.double().sum().item(), losses.numel())
        known = start + ids.shape[1]
