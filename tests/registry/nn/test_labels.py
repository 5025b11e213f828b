"""Labels that do not fit are refused, with the label and its position."""

import pytest
import torch
from torch import Tensor

from registry.errors import InputError
from registry.nn.losses import (
    classification_loss,
    multi_label_loss,
    next_token_loss,
    position_loss,
    regression_loss,
    sequence_loss,
    token_loss,
)
from registry.nn.packing import rows_of

LOGITS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
"""Of two texts of three tokens, and four classes."""


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (lambda y: classification_loss(LOGITS[:, 0], y), torch.tensor([0, 4]), r"label 4 in labels \(row 1\)"),
        (lambda y: classification_loss(LOGITS, y), torch.tensor([[0, -1, 1], [2, 3, 7]]), r"7 .*\(row 1, token 2\)"),
        (lambda y: next_token_loss(LOGITS, y), torch.tensor([[9, 0, 1], [2, 3, 3]]), r"9 .*\(row 0, token 0\)"),
        (lambda y: multi_label_loss(LOGITS[0], y), torch.tensor([[0, 0, 0, 1]] * 2 + [[0, 2, 0, 0]]), "row 2, class 1"),
        (lambda y: classification_loss(LOGITS[:, 0], y, "mc_labels"), torch.tensor([5, 0]), "mc_labels"),
    ],
)
def test_a_label_out_of_range_is_named_with_its_position(loss: object, labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss(labels)  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint64])
def test_whole_numbers_may_be_of_any_type(dtype: torch.dtype) -> None:
    labels = torch.tensor([[0, 3, 1], [2, 0, 3]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    rows = rows_of(mask)
    for loss in (
        lambda y: classification_loss(LOGITS, y),
        lambda y: next_token_loss(LOGITS, y, mask),
        lambda y: token_loss(rows.pack(LOGITS), y, rows, mask.shape),
        lambda y: position_loss(LOGITS[:, :, 0], y[:, 0], "start_positions"),
    ):
        assert torch.equal(loss(labels.to(dtype)), loss(labels))


def test_positions_of_packed_tokens_are_those_of_the_batch() -> None:
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]])
    rows = rows_of(mask)
    packed = rows.pack(LOGITS)
    with pytest.raises(InputError, match=r"label 4 in labels \(row 1, token 1\)"):
        token_loss(packed, torch.tensor([[0, 0, 0], [1, 4, 0]]), rows, mask.shape)


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (lambda y: classification_loss(LOGITS, y), torch.zeros(3, 2, dtype=torch.long)),  # its axes changed places
        (lambda y: classification_loss(LOGITS, y), torch.zeros(6, dtype=torch.long)),
        (lambda y: classification_loss(LOGITS[:, 0], y), torch.zeros(2)),
        (lambda y: classification_loss(LOGITS[:, 0], y), torch.zeros(2, 4)),
        (lambda y: sequence_loss(LOGITS[:, 0], y), torch.zeros(2, 4, dtype=torch.long)),
        (lambda y: sequence_loss(LOGITS[:, 0], y), torch.zeros(2)),
        (lambda y: regression_loss(LOGITS[:, 0], y), torch.zeros(8)),
        (lambda y: regression_loss(LOGITS[:, 0, :1], y), torch.zeros(4)),
        (lambda y: multi_label_loss(LOGITS[:, 0], y), torch.zeros(2)),
        (lambda y: position_loss(LOGITS[:, :, 0], y, "start_positions"), torch.zeros(3, dtype=torch.long)),
        (lambda y: position_loss(LOGITS[:, :, 0], y, "start_positions"), torch.zeros(2)),
    ],
)
def test_labels_of_another_shape_or_type_are_refused(loss: object, labels: Tensor) -> None:
    with pytest.raises(InputError, match=r"labels|start_positions"):
        loss(labels)  # type: ignore[operator]


def test_the_remedy_for_several_labels_of_a_text_is_named() -> None:
    with pytest.raises(InputError, match="multi_label_classification"):
        sequence_loss(LOGITS[:, 0], torch.zeros(2, 4, dtype=torch.long))


def test_values_are_not_looked_at_where_control_flow_may_not_depend_on_them() -> None:
    def loss(y: Tensor) -> Tensor:
        return classification_loss(LOGITS[:, 0], y) + multi_label_loss(LOGITS[:, 0], torch.nn.functional.one_hot(y, 4))

    labels = torch.tensor([1, 3])
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(labels), loss(labels))
    assert classification_loss(LOGITS[:, 0].to("meta"), labels.to("meta")).is_meta
