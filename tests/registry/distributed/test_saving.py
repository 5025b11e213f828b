"""Divided models are saved as one process saves them."""

from pathlib import Path

import pytest

import registry
from registry.testing.ranks import RankPool

RANKED = str(Path(__file__).with_name("ranked.py"))


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize("way", ["tp", "fsdp"])
def test_shards_and_files_of_torch_are_those_of_one_process(
    models: Path, tmp_path: Path, way: str, registry_ranks: RankPool
) -> None:
    model = registry.load_model(models / "gpt2")
    registry.save(model, tmp_path / "one", max_shard_size="20KB")
    registry_ranks.run(f"{RANKED}:saved_in_shards", str(models / "gpt2"), way, str(tmp_path / "several"))
    assert content(tmp_path / "several") == content(tmp_path / "one")
    registry_ranks.run(f"{RANKED}:saved_by_torch", str(models / "gpt2"), way, str(tmp_path / "torch"))
    registry.save(model, tmp_path / "by one", format="torch")
    assert content(tmp_path / "torch") == content(tmp_path / "by one")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "several", "torch", "by one"}


def test_a_full_disk_is_the_same_error_in_all_processes(models: Path, tmp_path: Path, registry_ranks: RankPool) -> None:
    target = tmp_path / "there"
    registry.save(registry.load_model(models / "gpt2"), target)
    before = content(target)
    one, other = registry_ranks.run(f"{RANKED}:full_disk", str(models / "gpt2"), "fsdp", str(target))
    assert one == other
    assert one[0] == "SaveError"
    assert content(target) == before
