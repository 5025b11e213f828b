"""Transformer-XL on two ranks of torch's DistributedDataParallel, of which one has no rare words in its batches."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from datetime import timedelta
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel

rank = int(os.fork() == 0)  # the child is rank 1
limit = timedelta(seconds=60)
dist.init_process_group("gloo", timeout=limit, init_method="file://" + sys.argv[1], rank=rank, world_size=2)
torch.manual_seed(0)
model = TransfoXLLMHeadModel(TransfoXLConfig(
    vocab_size=50, cutoffs=[7, 20], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=20, n_layer=2, div_val=2,
    mem_len=4, dropout=0.0,
))
rare = torch.randint(0, 50, (2, 6))
batches = [[rare, rare % 7], [rare.flip(0), rare % 5], [rare % 3, rare % 7]]  # of the ranks, in each step

expected = []
for pair in batches:
    model.zero_grad()
    for ids in pair:
        (model(ids, labels=ids).loss / 2).backward()
    expected.append([parameter.grad.clone() for parameter in model.parameters()])

model.zero_grad()
parallel = DistributedDataParallel(model)
for pair, gradients in zip(batches, expected):
    parallel(pair[rank], labels=pair[rank]).loss.backward()
    for parameter, gradient in zip(model.parameters(), gradients):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)
    model.zero_grad()
dist.barrier()
open(sys.argv[1] + str(rank), "w").close()
os._exit(0)  # threads of gloo may outlive the group, at which torch aborts
"""


@pytest.mark.slow
def test_gradients_on_two_ranks_are_the_mean_where_one_has_no_rare_words(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "group")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert all((tmp_path / f"group{rank}").exists() for rank in (0, 1)), run.stderr
