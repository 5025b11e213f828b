"""The loss of a head for texts, next to that of transformers, for every kind of problem."""

from itertools import product
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close
from transformers.loss.loss_utils import ForSequenceClassificationLoss

from registry.config.fields import PROBLEM_TYPES
from registry.errors import InputError
from registry.nn.losses import SEQUENCE_LOSSES, problem_of, sequence_loss

TEXTS = 5


def labels_of_every_kind(classes: int) -> list[torch.Tensor]:
    torch.manual_seed(classes)
    numbers, several = torch.randint(classes, (TEXTS,)), torch.randint(2, (TEXTS, classes)).float()
    return [
        numbers,
        numbers.int(),
        numbers[:, None],
        numbers.float(),
        torch.randn(TEXTS),
        torch.randn(TEXTS, classes),
        several,
        torch.rand(TEXTS, classes),
    ]


@pytest.mark.parametrize(("problem", "classes"), [*product((None, *PROBLEM_TYPES), (1, 2, 3))])
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")  # theirs broadcasts
def test_losses_and_gradients_are_those_of_transformers_or_both_refuse(problem: str | None, classes: int) -> None:
    compared = 0
    for labels in labels_of_every_kind(classes):
        if (problem, classes) == ("single_label_classification", 1):
            continue  # no such configuration can be made there
        theirs, ours = (torch.randn(TEXTS, classes, generator=torch.Generator().manual_seed(1)) for _ in range(2))
        config: Any = transformers.BertConfig(num_labels=classes, problem_type=problem)
        meant = problem or problem_of(ours, labels)
        if meant == "multi_label_classification" and (labels.min() < 0 or labels.max() > 1):
            continue  # no probabilities: refused here, a number without a meaning there
        if meant == "regression" and labels.numel() != ours.numel():
            with pytest.raises(InputError):
                sequence_loss(ours, labels, problem)
            continue  # broadcast there
        try:
            expected = ForSequenceClassificationLoss(labels, theirs.requires_grad_(), config)
        except (ValueError, RuntimeError, IndexError):
            continue
        found = sequence_loss(ours.requires_grad_(), labels, problem)
        assert_close(found, expected.to(found.dtype), atol=1e-6, rtol=0)
        found.backward()
        expected.backward()
        assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=0)
        compared += 1
    assert compared or (problem, classes) == ("single_label_classification", 1)


def test_every_kind_of_problem_has_a_loss() -> None:
    assert set(SEQUENCE_LOSSES) == set(PROBLEM_TYPES)


def test_whole_numbers_do_for_several_labels_of_a_text() -> None:
    logits, labels = torch.randn(2, 3), torch.tensor([[1, 0, 1], [0, 0, 1]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    for given in (labels, labels.bool(), labels.to(torch.uint8)):
        assert_close(sequence_loss(logits, given, "multi_label_classification"), expected)
    with pytest.raises(InputError):
        sequence_loss(logits, torch.tensor([[1, 0, -100], [0, 0, 1]]), "multi_label_classification")
