"""Normalization, beside transformers, bit by bit."""

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from registry.nn.norms import RMSNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_is_that_of_published_models_in_every_type(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, theirs = RMSNorm(24, 1e-3).to(dtype), LlamaRMSNorm(24, 1e-3).to(dtype)
    with torch.no_grad():
        theirs.weight.normal_()
    ours.load_state_dict(theirs.state_dict())
    x = 3 * torch.randn(2, 5, 24, dtype=dtype)
    assert ours(x).equal(theirs(x))
    assert repr(ours) == "RMSNorm((24,), eps=0.001)"
