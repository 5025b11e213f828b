"""A model that processes share is trained, killed, resumed on another number of processes, and exported."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers

import registry
from registry.errors import UntrainedWarning

PROGRAM = Path(__file__).parent.parent.parent / "examples/finetune_fsdp.py"


def command(output: Path, processes: int, steps: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    options = ["--shape", "tiny", "--tokens", "16", "--every", "2", "--steps", str(steps)]
    return [*torchrun, str(PROGRAM), str(output), *options]


def losses(printed: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in re.findall(r"^step (\d+): loss ([\d.]+)$", printed, re.MULTILINE)}


@pytest.mark.slow
def test_killed_on_two_it_resumes_on_three_and_transformers_loads_the_result(tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with log.open("w") as file:
        running = subprocess.Popen(command(output, 2, 100_000), env=environment, stdout=file, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 400
        while len(losses(log.read_text())) < 5 and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        for child in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        running.wait(timeout=60)
    before = losses(log.read_text())
    assert len(before) >= 5, log.read_text()
    steps = max(before) + 4
    done = subprocess.run(command(output, 3, steps), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = losses(done.stdout)
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
