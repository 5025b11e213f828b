"""Weights that are put together when they are loaded, of arrays or with an adapter, are divided all the same."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import registry
from registry.testing.ranks import RankPool

RANKED = str(Path(__file__).with_name("ranked.py"))


@pytest.fixture
def adapted(models: Path, tmp_path: Path) -> Path:
    """An adapter of PEFT for the base model, on a matrix that is divided by columns and one that is by rows."""
    torch.manual_seed(1)
    tensors = {}
    for name in ("attention.self.query", "output.dense"):
        before = f"base_model.model.encoder.layer.1.{name}"
        into = 48 if name == "output.dense" else 24
        tensors |= {f"{before}.lora_A.weight": torch.randn(2, into), f"{before}.lora_B.weight": torch.randn(24, 2)}
    directory = tmp_path / "adapter"
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors")
    keys = {
        "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": str(models / "base"),
        "r": 2, "lora_alpha": 6, "fan_in_fan_out": False, "target_modules": ["query", "output.dense"],
    }  # fmt: skip
    (directory / "adapter_config.json").write_text(json.dumps(keys))
    return directory


def test_arrays_of_numpy_and_adapters_give_the_values_of_one_process(
    models: Path, adapted: Path, gpt_release: Callable[[bool], Path], registry_ranks: RankPool
) -> None:
    cases = [(str(path), None, way, {}) for path in (gpt_release(True), adapted) for way in ("tp", "fsdp")]
    first, _ = registry_ranks.run(f"{RANKED}:values", cases)
    for (directory, _, way, _), (values, report) in zip(cases, first, strict=True):
        alone = registry.load_model(directory)
        state = alone.state_dict()
        assert values.keys() == state.keys()
        assert report.loaded == alone.load_report.loaded
        for name, value in values.items():
            assert torch.equal(value, state[name]), (directory, way, name)
    query = "encoder.layer.1.attention.self.query.weight"
    assert not torch.equal(first[-1][0][query], registry.load_model(models / "base").state_dict()[query])
