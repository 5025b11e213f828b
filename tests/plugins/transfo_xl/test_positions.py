"""Distances, the relative shift and the mask, each next to its definition."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from plugins.transfo_xl.mask import hidden_tokens, leading, padding_of
from plugins.transfo_xl.positions import distances_to, relative_shift, sinusoids

CPU = torch.device("cpu")


@pytest.mark.parametrize(("new", "attended"), [(1, 1), (1, 7), (4, 4), (3, 8)])
def test_the_shift_gives_each_pair_of_tokens_the_score_of_its_distance(new: int, attended: int) -> None:
    scores = torch.rand(2, 3, new, attended + 1)
    distances = distances_to(attended, 0, CPU).tolist()
    assert distances == [*range(attended - 1, -1, -1), -1]
    shifted = relative_shift(scores, attended)
    for token in range(new):
        for other in range(attended):
            distance = attended - new + token - other
            if distance >= 0:  # later tokens are masked
                assert_close(shifted[:, :, token, other], scores[:, :, token, distances.index(distance)])


def test_distances_are_clamped() -> None:
    assert distances_to(5, 2, CPU).tolist() == [2, 2, 2, 1, 0, -1]


def test_features_are_sines_then_cosines_of_ever_longer_waves() -> None:
    found = sinusoids(torch.tensor([0.0, 3.0]), 5, torch.float64)
    speeds = 1 / 10_000 ** (torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64) / 5)
    assert_close(found[1], torch.cat([(3 * speeds).sin(), (3 * speeds).cos()])[:5])
    assert_close(found[0], torch.tensor([0.0, 0, 0, 1, 1], dtype=torch.float64))


def hidden(text: str) -> Tensor:
    """A mask as a picture: a row a token, ``x`` where it does not attend."""
    return torch.tensor([[sign == "x" for sign in row] for row in text.split()])


@pytest.mark.parametrize(
    ("new", "attended", "span", "expected"),
    [
        (3, 3, None, ".xx ..x ..."),
        (2, 4, None, "...x ...."),
        (3, 5, 2, "x..xx xx..x xxx.."),
        (1, 4, 2, "xx.."),
    ],
)
def test_a_token_attends_to_itself_and_to_those_before_it(
    new: int, attended: int, span: int | None, expected: str
) -> None:
    found = hidden_tokens(new, attended, span=span, skipped=None, device=CPU)
    assert found is not None
    assert torch.equal(found, hidden(expected))


def test_where_everything_is_attended_to_there_is_no_mask() -> None:
    assert hidden_tokens(1, 9, span=None, skipped=None, device=CPU) is None
    assert hidden_tokens(1, 9, span=9, skipped=None, device=CPU) is None
    assert padding_of(None) is None
    assert padding_of(torch.ones(2, 3)) is None


def test_padding_hides_as_much_memory_as_there_is_of_it() -> None:
    padding = padding_of(torch.tensor([[1, 1, 1], [0, 0, 1]]))
    found = hidden_tokens(3, 5, span=None, skipped=leading(padding), device=CPU)
    assert found is not None
    assert torch.equal(found[0, 0], hidden("...xx ....x ....."))
    assert torch.equal(found[1, 0], hidden("xx.xx xx..x xx..."))
