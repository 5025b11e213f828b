"""A model that processes share is trained, killed, resumed on another number of processes, and exported."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import registry
from registry.errors import UntrainedWarning

PROGRAM = Path(__file__).parent.parent.parent / "examples/finetune_fsdp.py"
SMALL = ("--shape", "tiny", "--tokens", "16", "--every", "2", "--steps")


def losses(printed: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in re.findall(r"^step (\d+): loss ([\d.]+)$", printed, re.MULTILINE)}


@pytest.mark.slow
def test_killed_on_two_it_resumes_on_three_and_transformers_loads_the_result(tmp_path: Path, warm: Any) -> None:
    output = tmp_path / "out"
    running = warm.start_ranks(2, PROGRAM, output, *SMALL, "100000")
    log = running[0].output
    deadline = time.monotonic() + 400
    while len(losses(log.read_text())) < 5 and "Error" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
    assert [process.wait() for process in running] == [-signal.SIGKILL] * 2, log.read_text()
    before = losses(log.read_text())
    assert len(before) >= 5, log.read_text()
    steps = max(before) + 4
    after = losses(warm.run_ranks(3, PROGRAM, output, *SMALL, str(steps)))
    first = min(after)
    assert first > 1, "it did not resume"
    assert first % 2 == 1, "it did not resume after a checkpoint"
    assert max(after) == steps
    again = before.keys() & after.keys()
    assert [after[step] for step in again] == pytest.approx([before[step] for step in again], abs=1e-5)

    ids = torch.tensor([[72, 101, 108, 108, 111]])
    ours = registry.load_model(output / "model")(ids).logits
    theirs = transformers.GPT2LMHeadModel.from_pretrained(output / "model")(ids).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    with pytest.warns(UntrainedWarning):
        untrained = registry.load_model(output / "start")
    assert not torch.equal(ours, untrained(ids).logits)
