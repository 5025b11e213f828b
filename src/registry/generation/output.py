"""What ``generate(..., return_dict=True)`` returns."""

from typing import NamedTuple

import torch
from torch import Tensor


class GenerationOutput(NamedTuple):
    """Generated sequences with their scores."""

    sequences: Tensor
    """Ids of prompts and continuations, ``(rows, tokens)``."""
    scores: tuple[Tensor, ...]
    """For each step what the token was selected by, ``(rows, vocabulary)``, after all processors: logits, or in beam
    search log-probabilities.  After the end of a row they mean nothing."""
    log_probs: Tensor
    """The log-probability of each new token, ``(rows, new)``; 0 after the end of a row."""
    sequences_scores: Tensor
    """In beam search the score by which sequences are ordered, else the sum of ``log_probs``; ``(rows,)``."""


class Record:
    """The scores of each step, as far as they are to be returned."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        """Of each step, ``(rows, vocabulary)``."""
        self.log_probs: list[Tensor] = []
        """Of the token of each step, ``(rows,)``."""
        self.sequences_scores: Tensor | None = None
        """Of the hypotheses of beam search, ``(rows,)``."""

    def add(self, scores: Tensor, tokens: Tensor, ended: Tensor) -> None:
        """Add a step: scores ``(rows, vocabulary)``, the tokens selected and which rows had ended, both ``(rows,)``."""
        self.scores.append(scores)
        chosen = scores.log_softmax(dim=-1).gather(1, tokens[:, None]).squeeze(1)
        self.log_probs.append(chosen.masked_fill(ended, 0.0))

    def output(self, sequences: Tensor) -> GenerationOutput:
        """What was recorded of these sequences, ``(rows, tokens)``."""
        log_probs = torch.stack(self.log_probs, dim=1)
        total = log_probs.sum(dim=1) if self.sequences_scores is None else self.sequences_scores
        return GenerationOutput(sequences, tuple(self.scores), log_probs, total)
