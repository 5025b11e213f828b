"""Rotary positions, beside those of transformers; and the property for which they are made."""

from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from registry.nn.rotary import FREQUENCIES, rotary_angles, rotate

WIDTH, LONGEST = 16, 32
LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
SCALINGS: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, **LLAMA_3},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
    "yarn, with its numbers": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "truncate": False,
        "beta_fast": 8.0,
        "beta_slow": 2.0,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
    },
    "yarn, with a factor of attention": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.7},
}


def test_every_kind_is_compared() -> None:
    assert {scaling["rope_type"] for scaling in SCALINGS.values()} == set(FREQUENCIES)


@pytest.mark.parametrize("tokens", [LONGEST, 2 * LONGEST])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_angles_are_those_of_transformers(scaling: str, tokens: int) -> None:
    parameters = {**SCALINGS[scaling], "rope_theta": 5000.0}
    sizes = {"hidden_size": WIDTH, "num_attention_heads": 1, "max_position_embeddings": LONGEST}
    config = transformers.LlamaConfig(**sizes, rope_parameters=parameters)
    positions = torch.arange(tokens)
    expected = LlamaRotaryEmbedding(config)(torch.zeros(1), positions[None])
    given = {"width": WIDTH, "theta": 5000.0, "longest": LONGEST, "scaling": SCALINGS[scaling]}
    found = rotary_angles(positions, torch.float32, **given)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours[:, :, 0], theirs, atol=1e-5, rtol=1e-5)
    query = torch.randn(1, tokens, 2, WIDTH)
    turned, _ = apply_rotary_pos_emb(query, query, *expected, unsqueeze_dim=2)
    assert_close(rotate(query, found), turned, atol=1e-5, rtol=1e-5)


def test_scores_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, WIDTH, dtype=torch.float64)
    at = [rotary_angles(torch.tensor([n]), torch.float64, width=WIDTH, theta=100.0, longest=64) for n in range(40)]
    scores = [(rotate(query, at[n + 3]) * rotate(key, at[n])).sum() for n in range(37)]
    assert_close(torch.stack(scores), scores[0].expand(37), atol=1e-5, rtol=0)


def test_features_beyond_the_angles_stay() -> None:
    x = torch.randn(2, 3, 1, WIDTH)
    at = rotary_angles(torch.arange(3), torch.float32, width=4, theta=100.0, longest=8)
    turned = rotate(x, at)
    assert turned[..., 4:].equal(x[..., 4:])
    assert_close(turned[..., :4], rotate(x[..., :4], at))
    assert not torch.allclose(turned[:, 1:, :, :4], x[:, 1:, :, :4])
