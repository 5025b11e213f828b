"""Loss functions; each checks its labels (``registry.nn.inputs``)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.nn.inputs import class_numbers, fractions, in_shape, positions
from registry.nn.packing import Rows

IGNORED = -100
"""The label of what is ignored; every other negative number means the same."""

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


# --- One class for each -----------------------------------------------------------------------------------------------


def classification_loss(logits: Tensor, labels: Tensor, name: str = "labels") -> Tensor:
    """Mean cross entropy.

    Args:
        logits: ``(..., classes)``.
        labels: Class numbers, ``(...)``; negative ones are ignored.
        name: The argument that holds the labels, for errors.

    Returns:
        One number, zero without any label, not NaN: a batch in which no word happens to be masked must not destroy the
        model.

    Raises:
        InputError: The labels have another shape or type or, on a CPU, one is not a class.
    """
    return _cross_entropy(logits, class_numbers(labels, logits.shape[:-1], logits.shape[-1], name))


def token_loss(logits: Tensor, labels: Tensor, rows: Rows, batch: torch.Size) -> Tensor:
    """Mean cross entropy of packed rows of tokens; padding is ignored.

    Args:
        logits: Packed, ``(..., classes)``.
        labels: Class numbers, ``(batch, tokens)``; negative ones are ignored.
        rows: How the logits are packed.
        batch: ``(batch, tokens)``.

    Returns:
        One number, as ``classification_loss`` gives it.

    Raises:
        InputError: As for ``classification_loss``.
    """
    labels = class_numbers(labels, batch, logits.shape[-1])
    return _cross_entropy(logits, rows.pack(labels, padding=IGNORED))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    labels = labels.flatten()
    known = labels >= 0
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.masked_fill(~known, IGNORED), ignore_index=IGNORED, reduction="sum"
    )
    return total / known.sum().clamp(min=1)


# --- The next token ---------------------------------------------------------------------------------------------------


def next_token_loss(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross entropy of the logits at each token and the token after it.

    Args:
        logits: ``(..., tokens, vocabulary)``.
        labels: Ids of the tokens themselves, ``(..., tokens)``; negative ones are not predicted.
        mask: ``(..., tokens)``, zero at padding, which is neither predicted nor predicts; a longer mask ends with these
            tokens.

    Returns:
        One number.

    Raises:
        InputError: As for ``classification_loss``.
    """
    labels = class_numbers(labels, logits.shape[:-1], logits.shape[-1])
    return _cross_entropy(logits, next_tokens(labels, mask))  # shifts labels, since logits are far larger


def next_tokens(labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """The token after each token.

    Args:
        labels: Ids, ``(..., tokens)``.
        mask: ``(..., tokens)``, zero at padding, which neither follows nor is followed; a longer mask ends with these
            tokens.

    Returns:
        Ids, ``(..., tokens)``, -100 where no token follows.
    """
    following = F.pad(labels[..., 1:], (0, 1), value=IGNORED)
    if mask is None:
        return following
    tokens = mask[..., -labels.shape[-1] :] != 0
    return following.masked_fill(~(tokens & F.pad(tokens[..., 1:], (0, 1))), IGNORED)


# --- A position -------------------------------------------------------------------------------------------------------


def position_loss(logits: Tensor, labels: Tensor, name: str) -> Tensor:
    """Mean cross entropy of one position in each text, such as the first token of an answer.

    Args:
        logits: ``(texts, tokens)``.
        labels: Positions, ``(texts,)``.  As in pytorch-pretrained-bert and transformers, one behind the text is
            ignored, and a negative one means the first token.
        name: The argument that holds the labels, for errors.

    Returns:
        One number, zero where all are ignored.

    Raises:
        InputError: The labels have another shape or type.
    """
    labels = positions(labels, len(logits), name).clamp(min=0)
    return _cross_entropy(logits, labels.masked_fill(labels >= logits.shape[-1], IGNORED))


# --- A text -----------------------------------------------------------------------------------------------------------


def regression_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        predictions: ``(texts, numbers)``.
        targets: The same shape; of one number, ``(texts,)`` does as well.

    Returns:
        One number.

    Raises:
        InputError: The targets have another shape.
    """
    targets = in_shape(targets, predictions.shape, "labels", "a number to predict")
    return F.mse_loss(predictions, targets.to(predictions.dtype))


def multi_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy of all classes of all texts, of which any number may apply.

    Args:
        logits: ``(texts, classes)``.
        labels: 0 or 1 or a probability, the same shape.

    Returns:
        One number.

    Raises:
        InputError: The labels have another shape or, on a CPU, one is below 0 or above 1.
    """
    return F.binary_cross_entropy_with_logits(logits, fractions(labels, logits.shape).to(logits.dtype))


SEQUENCE_LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "regression": regression_loss,
        "single_label_classification": classification_loss,
        "multi_label_classification": multi_label_loss,
    }
)
"""The loss of a head for texts, by ``problem_type`` of the configuration."""


def sequence_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """The loss of a head for texts.

    Args:
        logits: ``(texts, classes)``.
        labels: Class numbers, ``(texts,)``; for several labels of a text, 0 or 1 for each class, ``(texts, classes)``;
            for regression, numbers to predict.
        problem_type: A key of ``SEQUENCE_LOSSES``.  None means, as in transformers, regression for one class, else a
            single label where labels are whole numbers, and several where they are fractions; unlike there, it is
            decided for each batch, and nothing is written to the configuration.

    Returns:
        One number.

    Raises:
        InputError: The labels do not fit the kind of problem.
    """
    return SEQUENCE_LOSSES[problem_type or problem_of(logits, labels)](logits, labels)


def problem_of(logits: Tensor, labels: Tensor) -> str:
    """The kind of problem that labels ``(texts, ...)`` of logits ``(texts, classes)`` belong to."""
    if logits.shape[-1] == 1:
        return "regression"
    if labels.dtype == torch.bool or labels.is_floating_point():
        return "multi_label_classification"
    return "single_label_classification"
