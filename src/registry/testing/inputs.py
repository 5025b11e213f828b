"""Inputs of a model for each task, and the shapes of its outputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from registry.config import Config

BATCH, CHOICES, TOKENS = 3, 2, 9
LENGTHS = (9, 5, 7)
"""Tokens of each sequence in a padded batch."""

TASKS_WITH_CHOICES = ("multiple-choice", "double-heads")
"""Tasks whose ids have the shape ``(batch, choices, tokens)``."""

SHAPES: Mapping[str, Mapping[str, tuple[str | int, ...]]] = {
    "base": {"last_hidden_state": ("batch", "tokens", "any")},
    "pretraining": {
        "prediction_logits": ("batch", "tokens", "vocabulary"),
        "seq_relationship_logits": ("batch", 2),
    },
    "masked-lm": {"logits": ("batch", "tokens", "vocabulary")},
    "next-sentence-prediction": {"logits": ("batch", 2)},
    "sequence-classification": {"logits": ("batch", "labels")},
    "token-classification": {"logits": ("batch", "tokens", "labels")},
    "multiple-choice": {"logits": ("batch", "choices")},
    "question-answering": {"start_logits": ("batch", "tokens"), "end_logits": ("batch", "tokens")},
    "causal-lm": {"logits": ("batch", "tokens", "vocabulary")},
    "double-heads": {"logits": ("batch", "choices", "tokens", "vocabulary"), "mc_logits": ("batch", "choices")},
}
"""Required fields of the output by task, with their axes; a plugin's own task requires none."""


def vocabulary(config: "Config") -> int:
    """The number of valid ids: the rows of the embedding, or 8 where the configuration has no such number."""
    return config.total_tokens_embeddings or 8


def random_ids(config: "Config", task: str) -> Tensor:
    """Random ids, the same at each call and never 0, ``(batch, tokens)`` or ``(batch, choices, tokens)``."""
    shape = (BATCH, CHOICES, TOKENS) if task in TASKS_WITH_CHOICES else (BATCH, TOKENS)
    return torch.randint(1, vocabulary(config), shape, generator=torch.Generator().manual_seed(1))


def labels_for(task: str, input_ids: Tensor, config: "Config") -> dict[str, Tensor]:
    """The labels that a task needs for a loss; empty for ``base`` and for a plugin's own task."""
    batch = input_ids.shape[0]
    numbers = torch.arange(batch)
    match task:
        case "pretraining":
            return {"labels": input_ids, "next_sentence_label": numbers % 2}
        case "masked-lm" | "causal-lm":
            return {"labels": input_ids}
        case "next-sentence-prediction" | "multiple-choice":
            return {"labels": numbers % 2}
        case "sequence-classification":
            return {"labels": numbers % config.num_labels}
        case "token-classification":
            return {"labels": input_ids % config.num_labels}
        case "question-answering":
            return {"start_positions": numbers % 2, "end_positions": 2 + numbers % 2}
        case "double-heads":
            return {"labels": input_ids, "mc_labels": numbers % 2}
    return {}


def expected_shapes(task: str, input_ids: Tensor, config: "Config") -> dict[str, tuple[int, ...]]:
    """The required shape of each field of the output; -1 for an axis of any size."""
    axes = {
        "batch": input_ids.shape[0],
        "choices": input_ids.shape[1],
        "tokens": input_ids.shape[-1],
        "vocabulary": vocabulary(config),
        "labels": config.num_labels,
        "any": -1,
    }
    return {
        field: tuple(axes[axis] if isinstance(axis, str) else axis for axis in shape)
        for field, shape in SHAPES.get(task, {}).items()
    }


def padded(input_ids: Tensor, side: str) -> tuple[Tensor, Tensor]:
    """Sequences of ``LENGTHS`` tokens, padded with id 0 on one side, and their attention mask."""
    lengths = torch.tensor([LENGTHS[number % len(LENGTHS)] for number in range(input_ids.shape[:-1].numel())])
    columns = torch.arange(input_ids.shape[-1])
    mask = (columns < lengths[:, None]).long()
    if side == "left":
        mask = mask.flip(-1)
    mask = mask.view(input_ids.shape)
    return input_ids * mask, mask
