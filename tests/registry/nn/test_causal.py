"""Attention that looks back, beside the formula of plain attention under an explicit mask."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from registry.nn.attention import attention
from registry.nn.cache import KeyValueCache, KeyValuePairs
from registry.nn.causal import CausalStateWithWeights, Context, causal_attention, causal_mask

BATCH, TOKENS, HEADS, WIDTH = 2, 5, 3, 4
IDS = torch.zeros(BATCH, TOKENS, dtype=torch.long)


@pytest.fixture
def qkv() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BATCH, TOKENS, HEADS, WIDTH, dtype=torch.float64) for _ in range(3)]


def test_no_token_sees_a_later_one(qkv: list[Tensor]) -> None:
    mask = torch.tensor([[key <= query for key in range(TOKENS)] for query in range(TOKENS)])
    assert_close(causal_attention(*qkv), attention(*qkv, mask=mask))
    assert_close(Context(IDS).attend(*qkv), attention(*qkv, mask=mask))


def test_the_mask_is_the_definition_of_looking_back() -> None:
    tokens = torch.tensor([[False, True, True, True, True], [True, True, False, True, False]])
    mask = causal_mask(3, 2, tokens, torch.device("cpu"))
    for row in range(2):
        for query in range(3):
            for key in range(5):
                itself = key == query + 2
                assert mask[row, 0, query, key] == (itself or (key < query + 2 and tokens[row, key]))


@pytest.mark.parametrize("mask", [None, [[0, 1, 1, 1, 1], [1, 1, 0, 1, 0]]])
@pytest.mark.parametrize("kind", [Context, CausalStateWithWeights])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_pieces_attend_as_the_whole_does(
    qkv: list[Tensor], kind: type[Context], cut: int, mask: list[list[int]] | None
) -> None:
    given = None if mask is None else torch.tensor(mask)
    whole = kind(IDS, given).attend(*qkv)
    sizes = {"layers": 1, "batch": BATCH, "heads": HEADS, "width": WIDTH, "capacity": TOKENS}
    for past in (KeyValuePairs(), KeyValueCache(**sizes, dtype=torch.float64)):  # type: ignore[arg-type]
        first = kind(IDS[:, :cut], None if given is None else given[:, :cut], past)
        mixed = [first.attend(*(x[:, :cut] for x in qkv))]
        second = kind(IDS[:, cut:], given, first.past_key_values)
        mixed.append(second.attend(*(x[:, cut:] for x in qkv)))
        assert_close(torch.cat(mixed, dim=1), whole)
        assert (second.attentions is None) == (kind is Context)


def test_positions_do_not_count_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 0, 0, 1]])
    assert Context(IDS).positions(IDS.device).tolist() == [0, 1, 2, 3, 4]
    assert Context(IDS, mask).positions(IDS.device).tolist() == [[0, 0, 0, 1, 2], [0, 1, 1, 1, 2]]
    past = [(torch.zeros(BATCH, HEADS, 3, WIDTH),) * 2]
    assert Context(IDS[:, 3:], mask, past).positions(IDS.device).tolist() == [[1, 2], [1, 2]]
    assert Context(IDS[:, 3:], None, past).positions(IDS.device).tolist() == [3, 4]


def test_features_get_the_shape_of_the_ids_back_and_are_zero_at_padding() -> None:
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    context = Context(IDS.view(2, 1, 5), mask.view(2, 1, 5))
    x = context.restore(torch.ones(2, 5, 3))
    assert x.shape == (2, 1, 5, 3)
    assert_close(x[:, 0, :, 0], mask.float())
    assert context.flat(x).shape == (2, 5, 3)
