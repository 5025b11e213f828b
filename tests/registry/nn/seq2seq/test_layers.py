"""Attention of encoder-decoders next to torch's, and the bias of relative positions next to that of transformers."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers.models.t5.modeling_t5 import T5Attention

from registry.nn.attention import CausalState, attention
from registry.nn.seq2seq.attention import CrossState
from registry.nn.seq2seq.layers import Attention, CrossAttention, RelativeBias

WIDTH, HEADS = 12, 3


def of_torch(layer: Attention) -> nn.MultiheadAttention:
    """torch's own layer with the same weights."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    query, key, value, output = (layer.get_submodule(name) for name in layer.names)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([query.weight, key.weight, value.weight]),
            "in_proj_bias": torch.cat([query.bias, key.bias, value.bias]),
            "out_proj.weight": output.weight,
            "out_proj.bias": output.bias,
        }
    )
    return theirs


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    x, text = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    layer = Attention(WIDTH, HEADS, names=("q_proj", "k_proj", "v_proj", "out_proj"))
    assert {name.rpartition(".")[0] for name in layer.state_dict()} == {"q_proj", "k_proj", "v_proj", "out_proj"}
    assert_close(layer(x, attention), of_torch(layer)(x, x, x)[0])
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    causal = CausalState(torch.ones(2, 5, dtype=torch.long)).attend_in(0)
    assert_close(layer(x, causal), of_torch(layer)(x, x, x, attn_mask=future)[0])
    cross = CrossAttention(WIDTH, HEADS)
    assert_close(cross(x, CrossState(text).attend_in(0)), of_torch(cross)(x, text, text)[0])


def test_a_scale_and_the_width_of_a_head_can_be_others() -> None:
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS, 5, bias=False, scale=0.25)
    x = torch.randn(2, 4, WIDTH)
    query, key, value = (layer.heads_of(x, name).transpose(1, 2) for name in layer.names[:3])
    assert query.shape == (2, HEADS, 4, 5)
    mixed = (0.25 * query @ key.transpose(-2, -1)).softmax(-1) @ value
    assert_close(layer(x, attention), layer.get_submodule("output")(mixed.transpose(1, 2).flatten(-2)))


def test_attention_weights_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    layer, x = Attention(WIDTH, HEADS, bias=False, dropout=0.5), torch.randn(1, 6, WIDTH)
    assert torch.equal(layer.eval()(x, attention), layer(x, attention))
    assert not torch.equal(layer.train()(x, attention), layer(x, attention))


@pytest.mark.parametrize(("classes", "farthest"), [(32, 128), (8, 10)])
def test_the_classes_of_distances_are_those_of_transformers(classes: int, farthest: int) -> None:
    torch.manual_seed(0)
    layer, tokens = RelativeBias(classes, HEADS, farthest), 200
    distances = torch.arange(tokens) - torch.arange(tokens)[:, None]
    of_class = partial(T5Attention._relative_position_bucket, num_buckets=classes, max_distance=farthest)
    for bias, both in ((layer.both_ways(tokens), True), (layer.backwards(tokens, tokens), False)):
        wanted = layer.weight[of_class(distances, bidirectional=both)].permute(2, 0, 1)
        assert torch.equal(bias, wanted)
    assert torch.equal(layer.backwards(3, tokens), layer.backwards(tokens, tokens)[:, -3:])
