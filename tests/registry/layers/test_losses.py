"""Losses, beside their formulas."""

import pytest
import torch
from torch.testing import assert_close

from registry.layers.losses import classification_loss, regression_loss


def test_the_loss_is_the_mean_over_known_labels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4)
    expected = -(logits.log_softmax(-1)[0, 1, 2] + logits.log_softmax(-1)[1, 0, 3]) / 2
    for unknown in (-100, -1, -7):
        labels = torch.tensor([[unknown, 2, unknown], [3, unknown, unknown]])
        assert_close(classification_loss(logits, labels), expected)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_labels_may_be_of_any_whole_type_and_have_an_axis_too_many(dtype: torch.dtype) -> None:
    logits = torch.eye(2)
    expected = classification_loss(logits, torch.tensor([0, 1]))
    assert_close(classification_loss(logits, torch.tensor([[0], [1]], dtype=dtype)), expected)


def test_without_a_known_label_the_loss_and_its_gradient_are_zero() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = classification_loss(logits, torch.tensor([-1, -100]))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_labels_are_not_written_to() -> None:
    labels = torch.tensor([-1, 0])
    classification_loss(torch.randn(2, 3), labels)
    assert labels.tolist() == [-1, 0]


def test_regression_takes_targets_of_any_shape_and_type() -> None:
    predictions = torch.tensor([[1.0], [3.0]])
    for targets in (torch.tensor([2, 5]), torch.tensor([[2.0], [5.0]]), torch.tensor([2.0, 5.0], dtype=torch.float64)):
        assert_close(regression_loss(predictions, targets), torch.tensor(2.5))
