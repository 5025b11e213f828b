"""Training that is interrupted continues with the same numbers, on another number of processes and in another way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import registry
from registry.errors import UnsafeWeightsError
from registry.testing.ranks import RankPool, function

RANKED = str(Path(__file__).with_name("ranked.py"))
IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
BATCH = {"input_ids": IDS, "labels": IDS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "xl"])
def test_training_continues_on_any_number_of_processes(
    models: Path, tmp_path: Path, name: str, registry_ranks: RankPool, four_ranks: RankPool
) -> None:
    """What two or four wrote is read by one, two, three and four, divided in another way."""
    directory, drawn = str(models / name), torch.Generator().manual_seed(123)
    number = float(torch.rand((), generator=drawn))
    for ranks, way in ((registry_ranks, "fsdp"), (registry_ranks, "tp"), (four_ranks, "fsdp+tp")):
        path = str(tmp_path / way)
        wanted = ranks.run(f"{RANKED}:interrupted", directory, way, BATCH, path)[0]
        found = [
            function(f"{RANKED}:resumed")(directory, None, BATCH, path, 1),
            *registry_ranks.run(f"{RANKED}:resumed", directory, "tp" if way == "fsdp" else "fsdp", BATCH, path, 2),
        ]
        if way == "fsdp":
            found += four_ranks.run(f"{RANKED}:resumed", directory, "fsdp", BATCH, path, 3)[:3]
            found += four_ranks.run(f"{RANKED}:resumed", directory, "fsdp+tp", BATCH, path, 4)
        for losses, random in found:
            assert losses == pytest.approx(wanted, abs=2e-5)
            assert random == number


def test_training_continues_while_a_checkpoint_is_written(
    models: Path, tmp_path: Path, registry_ranks: RankPool
) -> None:
    path = str(tmp_path / "checkpoint")
    wanted, _ = registry_ranks.run(f"{RANKED}:interrupted", str(models / "gpt2"), "fsdp", BATCH, path, True)
    losses, _ = function(f"{RANKED}:resumed")(str(models / "gpt2"), None, BATCH, path, 1)
    assert losses == pytest.approx(wanted, abs=2e-5)


def test_what_cannot_be_continued_is_an_error_in_all_processes(
    models: Path, tmp_path: Path, registry_ranks: RankPool
) -> None:
    path = str(tmp_path / "checkpoint")
    registry_ranks.run(f"{RANKED}:interrupted", str(models / "gpt2"), "fsdp", BATCH, path)
    one, other = registry_ranks.run(
        f"{RANKED}:damaged_checkpoints", str(models / "gpt2"), str(models / "bert"), path, str(tmp_path / "none")
    )
    assert one == other
    assert {name: kind for name, (kind, _) in one.items()} == {
        "none there": "MissingFileError",
        "another model": "WeightsMismatchError",
        "one rank has none": "MissingFileError",
        "a full disk": "SaveError",
    }


PROGRAM = """
import sys, time, torch, registry
from unittest.mock import patch
from torch.distributed.checkpoint.filesystem import FileSystemWriter
model = registry.load_model(sys.argv[1])
registry.checkpoint.save(sys.argv[2], model)
with torch.no_grad():
    model.lm_head.weight.zero_()
def finish(*arguments, **keywords):
    print("writing", flush=True)
    time.sleep(60)
with patch.object(FileSystemWriter, "finish", finish):
    registry.checkpoint.save(sys.argv[2], model)
"""


def test_a_save_that_is_killed_leaves_the_checkpoint_before(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(models / "gpt2"), str(path)], stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    model = registry.load_model(models / "gpt2")
    before = model.lm_head.weight.clone()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    registry.checkpoint.load(path, model)
    assert torch.equal(model.lm_head.weight, before)
    registry.checkpoint.save(path, model)
    assert len([entry for entry in path.iterdir() if entry.is_dir()]) == 1


def test_nothing_of_a_checkpoint_is_run(models: Path, tmp_path: Path) -> None:
    model = registry.load_model(models / "gpt2")
    registry.checkpoint.save(tmp_path / "checkpoint", model)
    pointer = json.loads((tmp_path / "checkpoint/checkpoint.json").read_text())
    (tmp_path / "checkpoint" / pointer["directory"] / ".metadata").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeWeightsError, match=r"system"):
        registry.checkpoint.load(tmp_path / "checkpoint", model)
