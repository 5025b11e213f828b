"""Attention beside its formula; causal attention beside plain attention under an explicit mask."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

from registry.nn.attention import (
    CausalState,
    CausalStateWithWeights,
    attention,
    causal_attention,
    causal_mask,
    eager_attention,
)
from registry.nn.cache import DynamicKeyValueCache, StaticKeyValueCache

BATCH, TOKENS, HEADS, WIDTH = 2, 5, 3, 4
IDS = torch.zeros(BATCH, TOKENS, dtype=torch.long)


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


@pytest.mark.parametrize("by_kernel", [False, True])
def test_one_query_in_bfloat16(qkv: list[Tensor], by_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.nn.attention.MULTIPLIES_BFLOAT16", by_kernel)
    query, key, value = (x.bfloat16() for x in qkv)
    mixed = attention(query[:, -1:], key, value)
    expected, _ = formula(query[:, -1:].double(), key.double(), value.double())
    assert_close(mixed, expected.bfloat16())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_neighboring_heads_share_keys_and_values(heads: int, masked: bool) -> None:
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


def test_attention_weights_are_those_before_dropout(qkv: list[Tensor]) -> None:
    _, weights = eager_attention(*qkv, dropout=0.5)
    assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, TOKENS, dtype=torch.float64))


# --- Causal -----------------------------------------------------------------------------------------------------------


def test_no_token_sees_a_later_one(qkv: list[Tensor]) -> None:
    mask = torch.tensor([[key <= query for key in range(TOKENS)] for query in range(TOKENS)])
    assert_close(causal_attention(*qkv), attention(*qkv, mask=mask))
    assert_close(CausalState(IDS).attend_in(0)(*qkv), attention(*qkv, mask=mask))


@pytest.mark.parametrize("kind", [CausalState, CausalStateWithWeights])
@pytest.mark.parametrize("cut", [0, 3, 4])
@pytest.mark.parametrize("window", [1, 2, 4, 5, 9])
def test_a_token_sees_as_many_as_the_window_has(
    qkv: list[Tensor], window: int, cut: int, kind: type[CausalState]
) -> None:
    within = torch.tensor([[key <= query < key + window for key in range(TOKENS)] for query in range(TOKENS)])
    tokens = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    seen = within & tokens[:, None, None, :].bool() | torch.eye(TOKENS, dtype=torch.bool)
    for mask, expected in ((None, within), (tokens, seen)):
        cache = DynamicKeyValueCache()
        found = []
        for start, stop in ((0, cut), (cut, TOKENS)):
            if start < stop:
                state = kind(IDS[:, start:stop], None if mask is None else mask[:, :stop], cache)
                found.append(state.attend_in(0, window=window)(*(x[:, start:stop] for x in qkv)))
                cache = DynamicKeyValueCache(state.past_key_values)
        assert_close(torch.cat(found, dim=1), formula(*qkv, expected)[0])


@pytest.mark.parametrize("kind", [CausalState, CausalStateWithWeights])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_a_bias_is_added_to_the_scores(
    qkv: list[Tensor], kind: type[CausalState], window: int | None, padded: bool
) -> None:
    bias = torch.randn(1, HEADS, TOKENS, TOKENS, dtype=torch.float64)
    tokens = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]) if padded else None
    seen = causal_mask(TOKENS, 0, None if tokens is None else tokens.bool(), torch.device("cpu"), window=window)
    query, key, value = qkv
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / WIDTH**0.5 + bias
    weights = torch.where(seen, scores, -torch.inf).softmax(-1)
    expected = torch.einsum("bhqk,bkhd->bqhd", weights, value)
    state = kind(IDS, tokens)
    assert_close(state.attend_in(0, window=window, bias=bias)(*qkv), expected)
    if state.attentions is not None:
        assert_close(state.attentions[0], weights)
    past = kind(IDS[:, :4], None if tokens is None else tokens[:, :4])
    past.attend_in(0, window=window, bias=bias[:, :, :4, :4])(*(x[:, :4] for x in qkv))
    last = kind(IDS[:, 4:], tokens, past.past_key_values)
    found = last.attend_in(0, window=window, bias=bias[:, :, 4:])(*(x[:, 4:] for x in qkv))
    assert_close(found, expected[:, 4:])


@pytest.mark.parametrize("kind", [CausalState, CausalStateWithWeights])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_a_sink_takes_its_share_of_the_attention_and_gives_nothing(
    qkv: list[Tensor], kind: type[CausalState], window: int | None, padded: bool
) -> None:
    sinks = torch.randn(HEADS, dtype=torch.float64)
    tokens = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]) if padded else None
    seen = causal_mask(TOKENS, 0, None if tokens is None else tokens.bool(), torch.device("cpu"), window=window)
    query, key, value = qkv
    scores = torch.where(seen, torch.einsum("bqhd,bkhd->bhqk", query, key) / WIDTH**0.5, -torch.inf)
    weights = scores.exp() / (scores.exp().sum(-1, keepdim=True) + sinks.exp()[:, None, None])
    expected = torch.einsum("bhqk,bkhd->bqhd", weights, value)
    state = kind(IDS, tokens)
    assert_close(state.attend_in(0, window=window, sinks=sinks)(*qkv), expected)
    if state.attentions is not None:
        assert_close(state.attentions[0], weights)
    past = kind(IDS[:, :4], None if tokens is None else tokens[:, :4])
    past.attend_in(0, window=window, sinks=sinks)(*(x[:, :4] for x in qkv))
    last = kind(IDS[:, 4:], tokens, past.past_key_values)
    assert_close(last.attend_in(0, window=window, sinks=sinks)(*(x[:, 4:] for x in qkv)), expected[:, 4:])


def test_attention_with_sinks_is_that_of_gpt_oss() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(BATCH, TOKENS, heads, WIDTH) for heads in (6, 2, 2))
    theirs = SimpleNamespace(sinks=torch.randn(6), num_key_value_groups=3, training=False)
    mask = torch.zeros(TOKENS, TOKENS).masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), -torch.inf)
    heads_first = [x.transpose(1, 2) for x in (query, key, value)]
    expected, _ = eager_attention_forward(theirs, *heads_first, mask, scaling=WIDTH**-0.5)
    for kind in (CausalState, CausalStateWithWeights):
        assert_close(kind(IDS).attend_in(0, sinks=theirs.sinks)(query, key, value), expected)


def test_the_mask_is_the_definition_of_causal() -> None:
    tokens = torch.tensor([[False, True, True, True, True], [True, True, False, True, False]])
    mask = causal_mask(3, 2, tokens, torch.device("cpu"))
    for row in range(2):
        for query in range(3):
            for key in range(5):
                itself = key == query + 2
                assert mask[row, 0, query, key] == (itself or (key < query + 2 and tokens[row, key]))


@pytest.mark.parametrize("mask", [None, [[0, 1, 1, 1, 1], [1, 1, 0, 1, 0]]])
@pytest.mark.parametrize("kind", [CausalState, CausalStateWithWeights])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_pieces_attend_as_the_whole_does(
    qkv: list[Tensor], kind: type[CausalState], cut: int, mask: list[list[int]] | None
) -> None:
    given = None if mask is None else torch.tensor(mask)
    whole = kind(IDS, given).attend_in(0)(*qkv)
    for past in (DynamicKeyValueCache(), StaticKeyValueCache(layers=1, batch=BATCH, capacity=TOKENS)):
        first = kind(IDS[:, :cut], None if given is None else given[:, :cut], past)
        mixed = [first.attend_in(0)(*(x[:, :cut] for x in qkv))]
        second = kind(IDS[:, cut:], given, first.past_key_values)
        mixed.append(second.attend_in(0)(*(x[:, cut:] for x in qkv)))
        assert_close(torch.cat(mixed, dim=1), whole)
        assert (second.attentions is None) == (kind is CausalState)


def test_positions_do_not_count_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 0, 0, 1]])
    assert CausalState(IDS).positions(IDS.device).tolist() == [0, 1, 2, 3, 4]
    assert CausalState(IDS, mask).positions(IDS.device).tolist() == [[0, 0, 0, 1, 2], [0, 1, 1, 1, 2]]
    past = [(torch.zeros(BATCH, HEADS, 3, WIDTH),) * 2]
    assert CausalState(IDS[:, 3:], mask, past).positions(IDS.device).tolist() == [[1, 2], [1, 2]]
    assert CausalState(IDS[:, 3:], None, past).positions(IDS.device).tolist() == [3, 4]


def test_features_get_the_shape_of_the_ids_back_and_are_zero_at_padding() -> None:
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    state = CausalState(IDS.view(2, 1, 5), mask.view(2, 1, 5))
    x = state.restore(torch.ones(2, 5, 3))
    assert x.shape == (2, 1, 5, 3)
    assert_close(x[:, 0, :, 0], mask.float())
    assert state.flat(x).shape == (2, 5, 3)
