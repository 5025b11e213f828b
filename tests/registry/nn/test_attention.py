"""Attention, beside its formula."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from registry.nn.attention import attention, eager_attention
from registry.nn.causal import causal_attention

BATCH, TOKENS, HEADS, WIDTH = 2, 5, 3, 4


@pytest.fixture
def qkv() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BATCH, TOKENS, HEADS, WIDTH, dtype=torch.float64) for _ in range(3)]


def formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Equation 1 of Vaswani et al. (2017)."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / WIDTH**0.5
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value), weights


@pytest.mark.parametrize("masked", [False, True])
def test_both_kinds_of_attention_follow_the_formula(qkv: list[Tensor], masked: bool) -> None:
    mask = torch.tensor([[True, True, False, True, False]] * BATCH)[:, None, None, :] if masked else None
    mixed, weights = formula(*qkv, mask)
    assert_close(attention(*qkv, mask=mask), mixed)
    assert_close(eager_attention(*qkv, mask=mask), (mixed, weights))


def test_one_query_in_bfloat16_is_rounded_once(qkv: list[Tensor]) -> None:
    query, key, value = (x.bfloat16() for x in qkv)
    mixed = attention(query[:, -1:], key, value)
    expected, _ = formula(query[:, -1:].double(), key.double(), value.double())
    assert_close(mixed, expected.bfloat16())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_neighbouring_heads_share_keys_and_values(heads: int, masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(BATCH, TOKENS, n, WIDTH, dtype=torch.float64) for n in (6, heads, heads))
    mask = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril() if masked else None
    own = [head * heads // 6 for head in range(6)]
    mixed, weights = formula(query, key[:, :, own], value[:, :, own], mask)
    assert_close(attention(query, key, value, mask=mask), mixed)
    assert_close(eager_attention(query, key, value, mask=mask), (mixed, weights))
    if masked:
        assert_close(causal_attention(query, key, value), mixed)


def test_a_sequence_needs_no_batch(qkv: list[Tensor]) -> None:
    assert_close(attention(*(x[0] for x in qkv)), attention(*qkv)[0])


def test_dropout_drops_weights_and_scales_the_rest(qkv: list[Tensor]) -> None:
    query, key, _ = qkv
    ones = torch.eye(TOKENS, dtype=torch.float64)[None, :, None, :].expand(BATCH, -1, HEADS, -1)
    for attend in (attention, lambda *x, **options: eager_attention(*x, **options)[0]):
        kept = attend(query, key, ones[..., :WIDTH], dropout=0.5)
        plain = attention(query, key, ones[..., :WIDTH])
        dropped = kept == 0
        assert dropped.any()
        assert_close(kept[~dropped], 2 * plain[~dropped])


def test_watched_weights_are_those_before_dropout(qkv: list[Tensor]) -> None:
    _, weights = eager_attention(*qkv, dropout=0.5)
    assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, TOKENS, dtype=torch.float64))
