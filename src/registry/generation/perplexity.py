"""How well a causal model predicts a text: the loss of each token behind all that the model can still see.

A model with a memory reads the text once, segment by segment.  Another one is given windows, each of which begins with
the younger half of what it saw before, so that no token but the first ones is predicted with less than half a context.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.generation.prompts import check_whole
from registry.generation.state import CausalModel

OnTokens = Callable[[int], object]
"""Is told how many tokens were predicted since it was last told."""


@runtime_checkable
class ReadingModel(Protocol):
    """What a model with a memory offers."""

    tgt_len: int
    """Tokens of a segment, unless told otherwise."""

    def read_on(self, input_ids: Tensor, target: Tensor, mems: Any) -> tuple[Tensor, Any]:
        """Losses of ``target``, ``(batch, tokens)``, behind ids of that shape; and the memory for what follows."""
        ...


@frozen
class Evaluation:
    """How well a text was predicted."""

    tokens: int
    """Tokens that were predicted."""
    loss: float
    """Mean negative log-probability of a token, in nats."""

    @property
    def perplexity(self) -> float:
        """Among how many equally likely tokens the model would be as unsure."""
        return math.exp(self.loss)


class _Part(NamedTuple):
    """Losses of some tokens, summed."""

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
    """Have ``model``, which is in evaluation mode, predict each token of ``ids`` but the first.

    ``batch_size`` cuts the text into as many texts of one length, which are read side by side; what is left over is
    dropped, and the first token of each is not predicted.  ``segment`` is how many tokens are read at once; unless
    given, the ``tgt_len`` of a model with a memory, and else the context.

    Raises InputError for a text of less than two tokens in each row, and for a model that predicts no next tokens.
    """
    check_whole("batch_size", batch_size)
    check_whole("segment", 1 if segment is None else segment)
    length = len(ids) // batch_size
    if length < 2:
        raise InputError(f"{len(ids)} tokens are too few to predict some of them in each of {batch_size} rows.")
    device = next(model.parameters()).device
    rows = torch.as_tensor(ids, dtype=torch.long)[: length * batch_size].view(batch_size, length).to(device)
    loss, tokens = 0.0, 0
    with torch.inference_mode():
        for part in _parts(model, rows, segment):
            loss, tokens = loss + part.loss, tokens + part.tokens
            if on_tokens is not None:
                on_tokens(part.tokens)
    return Evaluation(tokens, loss / tokens)


def _parts(model: Any, rows: Tensor, segment: int | None) -> Iterator[_Part]:
    if isinstance(model, ReadingModel):
        return _with_memory(model, rows, segment or model.tgt_len)
    if isinstance(model, CausalModel):
        return _in_windows(model, rows, max(2, min(segment or model.context_size, model.context_size)))
    raise InputError(f"{type(model).__name__} does not predict next tokens.")


def _with_memory(model: ReadingModel, rows: Tensor, segment: int) -> Iterator[_Part]:
    mems = None
    for start in range(0, rows.shape[1] - 1, segment):
        both = rows[:, start : start + segment + 1]
        losses, mems = model.read_on(both[:, :-1], both[:, 1:], mems)
        yield _Part(losses.double().sum().item(), losses.numel())


def _in_windows(model: Any, rows: Tensor, window: int) -> Iterator[_Part]:
    known = 1  # columns that were predicted, or cannot be
    while known < rows.shape[1]:
        start = 0 if known == 1 else known - (window + 1) // 2
        ids = rows[:, start : start + window]
        following = ids[:, known - start :]
        logits = model(ids).logits[:, known - start - 1 : -1]
        losses = F.cross_entropy(logits.flatten(0, 1).float(), following.flatten(), reduction="none")
        yield _Part(losses.double().sum().item(), losses.numel())
        known = start + ids.shape[1]
