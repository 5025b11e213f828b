"""Inputs of a model for each task, and the shapes of its outputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from registry.config import Config

BATCH, CHOICES, TOKENS, TARGETS = 3, 2, 9, 6
LENGTHS = (9, 5, 7)
"""Tokens of each sequence in a padded batch."""

TASKS_WITH_CHOICES = ("multiple-choice", "double-heads")
"""Tasks whose ids have the shape ``(batch, choices, tokens)``."""


@contextmanager
def seeded() -> Iterator[None]:
    """A context of random numbers that are the same each time; those outside continue as without it.

    ``torch.manual_seed`` imports the compiler, which takes a second, and seeds devices that no check uses.
    """
    with torch.random.fork_rng():
        seed = torch.default_generator.manual_seed if torch.get_default_device().type == "cpu" else torch.manual_seed
        seed(0)
        yield


def vocabulary(config: "Config") -> int:
    """The number of valid ids: the rows of the embedding, or 8 where the configuration has no such number."""
    return config.total_tokens_embeddings or 8


def padding_id(config: "Config") -> int:
    """The id of padding: ``pad_token_id`` of the configuration, or 0."""
    number = getattr(config, "pad_token_id", None)
    return number if type(number) is int else 0


def random_ids(config: "Config", task: str, tokens: int = TOKENS) -> Tensor:
    """Random ids, the same at each call, never 0 nor padding, ``(batch, tokens)`` or ``(batch, choices, tokens)``."""
    shape = (BATCH, CHOICES, tokens) if task in TASKS_WITH_CHOICES else (BATCH, tokens)
    usual = [number for number in range(1, vocabulary(config)) if number != padding_id(config)]
    return torch.tensor(usual)[torch.randint(0, len(usual), shape, generator=torch.Generator().manual_seed(1))]


def random_inputs(config: "Config", task: str, *, decodes: bool = False) -> dict[str, Tensor]:
    """The ids of a task; a model that ``decodes`` reads those of an answer as well."""
    answers = {"decoder_input_ids": random_ids(config, task, TARGETS)} if decodes else {}
    return {"input_ids": random_ids(config, task), **answers}


def labels_for(task: str, inputs: Mapping[str, Tensor], config: "Config") -> dict[str, Tensor]:
    """The labels that a task needs for a loss; empty for ``base`` and for a plugin's own task."""
    numbers = torch.arange(len(next(iter(inputs.values()))))
    if task in ("sequence-classification", "image-classification"):
        return {"labels": numbers % config.num_labels}
    if task == "seq2seq-lm":
        return {"labels": inputs["decoder_input_ids"]}
    input_ids = inputs.get("input_ids", numbers)
    match task:
        case "pretraining":
            return {"labels": input_ids, "next_sentence_label": numbers % 2}
        case "masked-lm" | "causal-lm":
            return {"labels": input_ids}
        case "next-sentence-prediction" | "multiple-choice":
            return {"labels": numbers % 2}
        case "token-classification":
            return {"labels": input_ids % config.num_labels}
        case "question-answering":
            return {"start_positions": numbers % 2, "end_positions": 2 + numbers % 2}
        case "double-heads":
            return {"labels": input_ids, "mc_labels": numbers % 2}
    return {}


def expected_shapes(
    shapes: Mapping[str, tuple[str | int, ...]], inputs: Mapping[str, Tensor], config: "Config"
) -> dict[str, tuple[int, ...]]:
    """The required shape of each field of the output; -1 for an axis of any size.

    Args:
        shapes: Fields with their axes.
        inputs: What the model is given; its answers are as long as ``decoder_input_ids``, where there are some.
        config: The configuration.
    """
    ids = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    first = next(iter(inputs.values()))
    axes = {
        "batch": first.shape[0],
        "choices": -1 if ids is None else ids.shape[1],
        "tokens": -1 if ids is None else ids.shape[-1],
        "vocabulary": vocabulary(config),
        "labels": config.num_labels,
        "any": -1,
    }
    return {
        field: tuple(axes[axis] if isinstance(axis, str) else axis for axis in shape) for field, shape in shapes.items()
    }


def padded(input_ids: Tensor, side: str, fill: int = 0) -> tuple[Tensor, Tensor]:
    """Sequences of ``LENGTHS`` tokens, padded with the id ``fill`` on one side, and their attention mask."""
    lengths = torch.tensor([LENGTHS[number % len(LENGTHS)] for number in range(input_ids.shape[:-1].numel())])
    columns = torch.arange(input_ids.shape[-1])
    mask = (columns < lengths[:, None]).long()
    if side == "left":
        mask = mask.flip(-1)
    mask = mask.view(input_ids.shape)
    return input_ids.where(mask != 0, fill), mask
