"""Heads of attention come from the tensors that arrive."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.linear import Conv1D
from registry.nn.projections import check_heads, separate
from registry.zoo import BertConfig, BertModel, GPT2Config, GPT2Model

WIDTH = 4


def test_queries_keys_and_values_stand_side_by_side() -> None:
    layer, x = Conv1D(6, 3 * 2 * WIDTH), torch.randn(2, 5, 6)
    whole = layer(x)
    for number, part in enumerate(separate(whole, WIDTH, layer)):
        for head in range(2):
            start = (2 * number + head) * WIDTH
            assert torch.equal(part[:, :, head], whole[..., start : start + WIDTH])


def test_fewer_heads_of_some_projections_are_refused() -> None:
    four, two = torch.randn(1, 3, 4, WIDTH), torch.randn(1, 3, 2, WIDTH)
    check_heads(four, four, four)
    check_heads(four, two, two, 2)
    for heads in ((four, two, two), (two, four, four), (four, four, two)):
        with pytest.raises(InputError, match="heads"):
            check_heads(*heads)
    with pytest.raises(InputError, match="4 heads of queries, 4 of keys"):
        check_heads(four, four, four, 2)


def test_a_bert_without_some_of_its_heads_computes_with_the_others() -> None:
    """By zeroing a head's rows behind its attention, and by removing the head, the numbers are the same."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=8)
    model, ids = BertModel(config).eval(), torch.tensor([[1, 2, 3, 4]])
    attention = model.encoder.layer[0].attention
    kept = torch.arange(12)[4:]
    with torch.no_grad():
        attention.output.dense.weight[:, :4] = 0
        expected = model(ids).last_hidden_state
        for layer in (attention.self.query, attention.self.key, attention.self.value):
            layer.weight, layer.bias = nn.Parameter(layer.weight[kept]), nn.Parameter(layer.bias[kept])
        attention.output.dense.weight = nn.Parameter(attention.output.dense.weight[:, kept])
        assert_close(model(ids).last_hidden_state, expected)


def test_a_gpt2_without_some_of_its_heads_computes_with_the_others() -> None:
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(vocab_size=9, n_embd=12, n_layer=1, n_head=3, n_positions=8)).eval()
    attention, ids = model.h[0].attn, torch.tensor([[1, 2, 3, 4]])
    kept = torch.arange(12)[4:]
    columns = torch.cat([kept, kept + 12, kept + 24])
    with torch.no_grad():
        attention.c_proj.weight[:4] = 0
        expected = model(ids).last_hidden_state
        attention.c_attn.weight = nn.Parameter(attention.c_attn.weight[:, columns])
        attention.c_attn.bias = nn.Parameter(attention.c_attn.bias[columns])
        attention.c_proj.weight = nn.Parameter(attention.c_proj.weight[kept])
        assert_close(model(ids).last_hidden_state, expected)


def test_the_bias_of_a_conv1d_may_be_added_elsewhere() -> None:
    layer, x = Conv1D(3, 5), torch.randn(2, 3)
    expected = layer(x) - layer.bias
    layer.bias = None  # type: ignore[assignment]
    assert_close(layer(x), expected)
