"""Four processes: both ways at once, three processes, and 64 that are only computed."""

from pathlib import Path

import pytest
import torch

import registry
from registry.testing.on_ranks import numbers
from registry.testing.ranks import RankPool

RANKED = str(Path(__file__).with_name("ranked.py"))
IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "gpt2", "xl", "xl-shared"])
def test_two_times_two_processes_compute_what_one_does(
    models: Path, tmp_path: Path, name: str, four_ranks: RankPool
) -> None:
    inputs, labels = {"input_ids": IDS}, {"labels": IDS}
    directory = str(models / name)
    arguments = (directory, None, "fsdp+tp", inputs, labels, str(tmp_path / "saved"))
    wanted = numbers(registry.load_model(directory), inputs, labels)
    for found in four_ranks.run("registry.testing.on_ranks:divided", *arguments):
        for field, value in wanted["outputs"].items():
            torch.testing.assert_close(found["outputs"][field], value, atol=1e-5, rtol=0)
        for parameter, gradient in wanted["gradients"].items():
            torch.testing.assert_close(found["gradients"][parameter], gradient, atol=1e-5, rtol=1e-5)
        assert found["losses"] == pytest.approx(wanted["losses"], abs=1e-5)
        assert found["norms"] == pytest.approx(wanted["norms"], abs=1e-5)
    weights = "model.safetensors"
    assert (tmp_path / "saved" / weights).read_bytes() == (models / name / weights).read_bytes()


@pytest.mark.slow
def test_three_processes_share_what_three_divides(models: Path, four_ranks: RankPool) -> None:
    wanted = numbers(registry.load_model(models / "gpt2"), {"input_ids": IDS}, {"labels": IDS})
    found = four_ranks.run(f"{RANKED}:on_three", str(models / "gpt2"), {"input_ids": IDS}, {"labels": IDS})
    assert found[3] == "ParallelError"
    for each in found[:3]:
        assert each["losses"] == pytest.approx(wanted["losses"], abs=1e-5)
        torch.testing.assert_close(each["outputs"]["logits"], wanted["outputs"]["logits"], atol=1e-5, rtol=0)
        assert each["gradients"].keys() == wanted["gradients"].keys()
        for parameter, gradient in wanted["gradients"].items():
            torch.testing.assert_close(each["gradients"][parameter], gradient, atol=1e-5, rtol=0)
