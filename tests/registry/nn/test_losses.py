"""Losses, beside their formulas."""

import pytest
import torch
from torch.testing import assert_close

from registry.nn.losses import classification_loss, next_token_loss, regression_loss


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


def test_the_next_token_is_predicted_and_the_first_is_not() -> None:
    torch.manual_seed(0)
    for shape in ((5,), (2, 5), (2, 3, 5)):
        logits, ids = torch.randn(*shape, 7), torch.randint(7, shape)
        expected = -logits.log_softmax(-1)[..., :-1, :].gather(-1, ids[..., 1:, None]).mean()
        assert_close(next_token_loss(logits, ids), expected)


def test_padding_neither_predicts_nor_is_predicted() -> None:
    torch.manual_seed(0)
    logits, ids = torch.randn(3, 5, 7), torch.randint(7, (3, 5))
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 1, 1]])
    pairs = [(0, 3), (0, 4), (1, 1), (1, 2), (2, 1), (2, 4)]  # text and token
    expected = -sum(logits.log_softmax(-1)[text, token - 1, ids[text, token]] for text, token in pairs) / len(pairs)
    for given in (mask, torch.cat([torch.ones(3, 2), mask], dim=1)):
        assert_close(next_token_loss(logits, ids, given), expected)
    ids[0, 3] = -1
    assert_close(next_token_loss(logits[:1], ids[:1], mask[:1]), -logits.log_softmax(-1)[0, 3, ids[0, 4]])


def test_a_single_token_has_no_next_one() -> None:
    assert next_token_loss(torch.randn(1, 7), torch.tensor([3])) == 0
