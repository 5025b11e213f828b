"""What each of two processes runs; see ``test_ranks.py``."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel

CONFIG = TransfoXLConfig(
    vocab_size=50, cutoffs=[7, 20], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=20, n_layer=2, div_val=2,
    mem_len=4, dropout=0.0,
)  # fmt: skip


def differences() -> list[float]:
    """How far the gradients on two ranks are from the mean of both batches, in each of three steps."""
    torch.manual_seed(0)
    model = TransfoXLLMHeadModel(CONFIG)
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
    found = []
    for pair, gradients in zip(batches, expected, strict=True):
        ids = pair[dist.get_rank()]
        parallel(ids, labels=ids).loss.backward()
        pairs = zip(model.parameters(), gradients, strict=True)
        differing = [(p.grad - g).abs().max() / (1 + g.abs().max()) for p, g in pairs]
        found.append(float(torch.stack(differing).max()))
        model.zero_grad()
    return found
