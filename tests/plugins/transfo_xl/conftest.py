"""pytorch-pretrained-bert's Transformer-XL, made to run, and models of ours that are built in milliseconds."""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "cutoffs": [7, 20],
    "d_model": 32,
    "d_embed": 32,
    "n_head": 4,
    "d_head": 8,
    "d_inner": 40,
    "n_layer": 3,
    "div_val": 2,
    "tgt_len": 8,
    "mem_len": 10,
    "clamp_len": 12,
}


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings, and whose masks of bytes torch refuses by now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("pytorch_pretrained_bert")
    monkeypatch.setattr(Tensor, "byte", Tensor.bool)
    return module


@pytest.fixture
def make() -> Callable[..., Any]:
    """Builds a model in evaluation mode, with weights that are far from those of a new one."""

    def build(cls: Any = TransfoXLLMHeadModel, **changes: Any) -> Any:
        torch.manual_seed(0)
        model = cls(TransfoXLConfig(**{**SIZES, **changes})).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return build


@pytest.fixture
def theirs(reference: ModuleType) -> Callable[[Any], Any]:
    """pytorch-pretrained-bert's model with the weights of ours: every name must find its place."""

    def build(ours: Any) -> Any:
        keys = {
            key: value for key, value in ours.config.to_dict().items() if hasattr(reference.TransfoXLConfig(9), key)
        }
        model = getattr(reference, type(ours).__name__)(reference.TransfoXLConfig.from_dict(keys)).eval()
        missing, unexpected = model.load_state_dict(ours.state_dict(), strict=False)
        assert not unexpected
        assert all(key.endswith("pos_emb.inv_freq") for key in missing)
        return model

    return build


@pytest.fixture
def ids() -> Tensor:
    """Two texts with words of all clusters."""
    return torch.randint(0, SIZES["vocab_size"], (2, 30), generator=torch.Generator().manual_seed(0))
