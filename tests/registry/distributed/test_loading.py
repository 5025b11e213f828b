"""Models that are loaded divided: the same values, report and errors as in one process, and no more is read."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.loading.model import Model
from registry.testing.ranks import RankPool
from registry.zoo import GPT2Config, GPT2LMHeadModel

RANKED = str(Path(__file__).with_name("ranked.py"))
FIXTURES = Path(__file__).parents[2] / "fixtures"


def reports(found: Any) -> tuple[Any, ...]:
    """What a report says, but for the time."""
    names = ("loaded", "tied", "new", "missing", "dropped", "renamed", "wrappers", "untrained")
    return tuple(getattr(found, name) for name in names)


@pytest.fixture(scope="module")
def files(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str | None]]:
    """Directories with weights in each format, and the task that they are loaded for."""
    root = tmp_path_factory.mktemp("formats")
    gpt2 = registry.load_model(models / "gpt2")
    registry.save(gpt2, root / "sharded", max_shard_size="20KB")
    registry.save(gpt2, root / "torch", format="torch")
    shutil.copytree(models / "bert", root / "legacy")
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma"): value
        for name, value in registry.load_model(models / "bert").state_dict().items()
    }
    (root / "legacy/model.safetensors").unlink()
    (root / "legacy/registry.json").unlink()
    torch.save(state, root / "legacy/pytorch_model.bin", _use_new_zipfile_serialization=False)
    return {
        "sharded safetensors": (str(root / "sharded"), None),
        "torch": (str(root / "torch"), None),
        "torch before 1.6, older names": (str(root / "legacy"), None),
        "another task": (str(models / "gpt2"), "base"),
        "TensorFlow, transposed": (str(FIXTURES / "tensorflow/bert_pretraining"), "pretraining"),
        "TensorFlow, fused": (str(FIXTURES / "tensorflow/gpt2"), None),
        "clusters of words": (str(models / "xl"), None),
        "biases that layers share": (str(models / "xl-shared"), None),
    }


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}], ids=["float32", "bfloat16"])
def test_every_format_gives_the_values_and_the_report_of_one_process(
    files: dict[str, tuple[str, str | None]], options: dict[str, Any], registry_ranks: RankPool
) -> None:
    cases = [(*where, way, options) for where in files.values() for way in ("tp", "fsdp")]
    first, _ = registry_ranks.run(f"{RANKED}:values", cases)
    for (directory, task, way, _), (values, report) in zip(cases, first, strict=True):
        alone: Model = registry.load_model(directory, task, **options)
        state = alone.state_dict()
        assert reports(report) == reports(alone.load_report), (directory, way)
        assert values.keys() == state.keys()
        for name, value in values.items():
            assert torch.equal(value, state[name]), (directory, way, name)


def test_a_process_reads_its_share_and_no_more(tmp_path: Path, registry_ranks: RankPool) -> None:
    """Counted are the pages of the file that it maps in the end; the kernel maps up to 16 at a time."""
    sizes = {"n_embd": 256, "n_layer": 2, "n_head": 4, "vocab_size": 8000, "n_positions": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    registry.save(model, tmp_path / "large")
    size = (tmp_path / "large/model.safetensors").stat().st_size
    around = 2 * 16 * 4096 * len(list(model.parameters()))
    for touched, own in registry_ranks.run(f"{RANKED}:resident", str(tmp_path / "large"), "fsdp"):
        assert abs(own - size / 2) < 0.05 * size
        assert touched < 1.05 * own + around < 0.8 * size


def test_checksums_are_compared_once_on_a_machine(
    files: dict[str, tuple[str, str | None]], registry_ranks: RankPool
) -> None:
    found = registry_ranks.run(f"{RANKED}:checked", files["torch"][0])
    assert all(count < 0.9 * alone for count, alone in found)
    assert found[0][1] <= sum(count for count, _ in found) < 1.6 * found[0][1]  # all read the pickle


def test_a_new_head_is_the_same_in_all_processes(models: Path, registry_ranks: RankPool) -> None:
    torch.manual_seed(0)  # that of the first process
    alone = registry.load_model(models / "base", "sequence-classification", num_labels=3).classifier.weight
    for way in ("tp", "fsdp"):
        found = registry_ranks.run(f"{RANKED}:new_heads", str(models / "base"), way)
        assert torch.equal(found[0][1], alone)
        if way == "tp":
            assert all(torch.equal(local, alone) for local, _ in found)


EXPECTED = {
    "no mesh": "UnknownOptionError",
    "no way": "UnknownOptionError",
    "misspelled way": "UnknownOptionError",
    "no DeviceMesh": "UnknownOptionError",
    "two dimensions": "ParallelError",
    "other names": "ParallelError",
    "another device": "ParallelError",
    "heads": "ParallelError",
    "no plan": "ParallelError",
    "another file": "ParallelError",
    "a rank without the file": "MissingFileError",
    "a damaged file on one rank": "CorruptWeightsError",
    "an option that one rank has": "UnknownOptionError",
    "a resized vocabulary": "UnsupportedError",
    "another length of generation": "ParallelError",
    "prompts that one rank refuses": "InputError",
    "a parameter that was added": "ParallelError",
    "and after all that": "nothing",
}


def test_bad_input_is_the_same_error_in_all_processes(models: Path, tmp_path: Path, registry_ranks: RankPool) -> None:
    shutil.copytree(models / "bert", tmp_path / "damaged")
    weights = tmp_path / "damaged/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    arguments = (str(models / "bert"), str(models / "gpt2"), str(tmp_path / "damaged"))
    one, other = registry_ranks.run(f"{RANKED}:refusals", *arguments)
    assert {name: kind for name, (kind, _) in one.items()} == EXPECTED
    assert one == other
