"""Quantizers find every linear layer: torchao, and torch's own ``quantize_dynamic``."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import registry
from registry.errors import SaveError
from registry.integrations.quantizers import as_linear
from registry.nn import onednn
from registry.nn.linear import Conv1D
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

pytestmark = pytest.mark.integrations

GPT = {"vocab_size": 64, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
MODELS: dict[str, tuple[type, Any, int]] = {
    "BERT": (
        BertForMaskedLM,
        BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64),
        2 * 6 + 2,  # query, key, value, three dense layers; transform and decoder of the head
    ),
    "GPT": (OpenAIGPTLMHeadModel, OpenAIGPTConfig(**GPT), 2 * 4 + 1),
    "GPT-2": (GPT2LMHeadModel, GPT2Config(**GPT), 2 * 4 + 1),
    "Transformer-XL": (
        TransfoXLLMHeadModel,
        TransfoXLConfig(
            vocab_size=64, cutoffs=[16, 32], d_model=32, d_embed=32, n_head=4, d_head=8, d_inner=64, n_layer=2,
            div_val=1, tgt_len=8, mem_len=8,
        ),
        2 * 5 + 1,  # qkv_net, r_net, o_net, two of the feed-forward network; the table of words
    ),
}  # fmt: skip
"""Class, configuration, and the number of linear layers."""
IDS = torch.randint(0, 64, (2, 8), generator=torch.Generator().manual_seed(0))

each_model = pytest.mark.parametrize("name", MODELS)


def made(name: str) -> tuple[Any, int]:
    cls, config, linear_layers = MODELS[name]
    torch.manual_seed(0)
    return cls(config).eval(), linear_layers


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(IDS).logits
    return found


@each_model
def test_a_model_of_linear_layers_has_the_same_numbers_names_and_shapes(name: str, tmp_path: Path) -> None:
    model, linear_layers = made(name)
    onednn.enable(model)
    other = as_linear(copy.deepcopy(model))
    assert sum(type(layer) is nn.Linear for layer in other.modules()) == linear_layers
    assert not any(isinstance(layer, Conv1D) for layer in other.modules())
    assert_close(logits(other), logits(model), atol=1e-5, rtol=1e-5)
    assert_close(other.state_dict(), model.state_dict(), atol=0, rtol=0)
    again = registry.load_model(registry.save(other, tmp_path / "saved"))
    assert_close(logits(again), logits(model), atol=1e-6, rtol=1e-6)
    assert_close(logits(as_linear(again)), logits(model), atol=1e-5, rtol=1e-5)
    changed = {key: value + 0.1 for key, value in model.state_dict().items()}
    assert_close(other.load_state_dict(changed), model.load_state_dict(changed))
    assert_close(logits(other), logits(model), atol=1e-5, rtol=1e-5)


@each_model
def test_torchao_quantizes_every_linear_layer(name: str, tmp_path: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="the extra `integrations` is not installed")
    model, linear_layers = made(name)
    expected = logits(model)
    as_linear(model)
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    quantized = [
        layer for layer in model.modules() if type(layer) is nn.Linear and type(layer.weight.data) is not Tensor
    ]
    assert len(quantized) == linear_layers
    difference = (logits(model) - expected).abs().max()
    assert 0 < difference < 0.05 * expected.abs().max()
    with pytest.raises(SaveError, match="Nothing was saved"):
        registry.save(model, tmp_path / "saved")


@each_model
def test_quantize_dynamic_finds_every_linear_layer(name: str) -> None:
    dynamic = pytest.importorskip("torch.ao.quantization", reason="this torch has no torch.ao.quantization")
    model, linear_layers = made(name)
    expected = logits(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        model = dynamic.quantize_dynamic(as_linear(model), {nn.Linear}, dtype=torch.qint8)
        found = logits(model)
    quantized = [layer for layer in model.modules() if type(layer).__module__.startswith("torch.ao.nn.quantized")]
    assert sum(type(layer).__name__ == "Linear" for layer in quantized) == linear_layers
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()
