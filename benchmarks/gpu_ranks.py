"""A model that several GPUs share, against one of them: numbers, memory, speed, saving and resuming.

    torchrun --standalone --nproc-per-node 8 benchmarks/gpu_ranks.py
    torchrun --standalone --nproc-per-node 2 benchmarks/gpu_ranks.py --device cpu --tiny    # that it runs

For each way to share GPT-2's largest shape, in float32 with random weights: the outputs and the losses of three steps
are compared with those of one process; memory with what ``registry.plan`` computes; the saved file with the first one,
byte by byte; losses after a checkpoint with those before.  Where one of them differs, the script ends with 1.  Tokens
per second are those of a training step in bfloat16.
"""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import registry
from registry.sharding.shares import local_of
from registry.zoo import GPT2Config, GPT2LMHeadModel

TOLERANCE = 1e-4
"""Largest difference to one process, relative to the largest output; in float32 torch does not use TF32 by itself."""
WAYS = ("fsdp", "tp", "fsdp+tp")
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
WHOLE = {"n_embd": 1600, "n_layer": 48, "n_head": 24}
"""GPT-2's largest, but for heads that 2, 4 and 8 processes divide."""
TINY = {"vocab_size": 301, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
WEIGHTS = "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="a small shape, whose figures mean nothing")
    parser.add_argument("--directory", type=Path, help="where to write, seen by all processes")
    chosen = parser.parse_args()
    dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.device == "cuda" else "gloo")
    if chosen.device == "cuda":
        torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())
    differ = measured(chosen.device, TINY if chosen.tiny else WHOLE, chosen.directory)
    dist.destroy_process_group()
    sys.exit(int(bool(differ)))


def measured(device: str, sizes: dict[str, int], parent: Path | None = None) -> list[str]:
    """Print the figures of each way; return what is not as in one process."""
    made = [tempfile.mkdtemp(dir=parent) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(made)
    directory = Path(str(made[0]))
    if dist.get_rank() == 0:
        write(directory / "model", sizes)
    dist.barrier()
    ids = torch.randint(sizes.get("vocab_size", 50257), (4, 64), generator=torch.Generator().manual_seed(0)).to(device)
    alone = registry.load_model(directory / "model", device=device)
    wanted = [alone(ids).logits.detach(), losses(alone, ids, 3)]
    del alone
    differ: list[str] = []
    for way in WAYS:
        if way == "fsdp+tp" and (dist.get_world_size() % 2 or dist.get_world_size() == 2):
            continue
        mesh = mesh_of(device, way)
        differ += compared(directory, way, mesh, ids, wanted)
        tokens = speed(directory / "model", way, mesh, ids)
        say(f"{way}: {tokens:,.0f} tokens/s of training in bfloat16, all {mesh.size()} processes together")
    for name in differ:
        say(f"DIFFERS: {name}")
    return differ


def write(directory: Path, sizes: dict[str, int]) -> None:
    """Write a GPT-2 with random weights."""
    model = GPT2LMHeadModel(GPT2Config(**sizes, **NO_DROPOUT))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    registry.save(model, directory)


def mesh_of(device: str, way: str) -> DeviceMesh:
    """A mesh of all processes."""
    number = dist.get_world_size()
    if way == "fsdp+tp":
        return init_device_mesh(device, (number // 2, 2), mesh_dim_names=("fsdp", "tp"))
    return init_device_mesh(device, (number,))


def compared(directory: Path, way: str, mesh: DeviceMesh, ids: torch.Tensor, wanted: list[Any]) -> list[str]:
    """What differs from one process, in one way to share the model."""
    start = perf_counter()
    model = registry.load_model(directory / "model", mesh=mesh, parallel=way)
    seconds = perf_counter() - start
    held = sum(local_of(parameter).nbytes for parameter in model.parameters())
    names = ("fsdp", "tp")
    sizes = dict(zip(names, mesh.mesh.shape, strict=True)) if mesh.ndim == 2 else {way: mesh.size()}
    planned = registry.plan(directory / "model", mesh=sizes).per_process[dist.get_rank()]
    say(f"{way}: loaded in {seconds:.2f} s; {held / 1e6:,.1f} MB of parameters, planned {planned / 1e6:,.1f}")
    registry.save(model, directory / f"saved-{mesh.ndim}-{way}")
    outputs = model(ids).logits.detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    first = losses(model, ids, 3, optimizer)
    registry.checkpoint.save(directory / "training", model, optimizer)
    after = losses(model, ids, 2, optimizer)
    registry.checkpoint.load(directory / "training", model, optimizer)
    facts = {
        "outputs": (outputs - wanted[0]).abs().max() <= TOLERANCE * wanted[0].abs().max(),
        "losses": max(abs(a - b) for a, b in zip(first, wanted[1], strict=True)) <= TOLERANCE,
        "memory": held == planned,
        "saving": same_file(directory / "model", directory / f"saved-{mesh.ndim}-{way}"),
        "resuming": max(abs(a - b) for a, b in zip(losses(model, ids, 2, optimizer), after, strict=True)) <= TOLERANCE,
    }
    return [f"{way}: {name}" for name, true in facts.items() if not true]


def losses(model: Any, ids: torch.Tensor, steps: int, optimizer: Any = None) -> list[float]:
    """The losses of some steps of training."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    found = []
    for _ in range(steps):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def same_file(one: Path, other: Path) -> bool:
    return filecmp.cmp(one / WEIGHTS, other / WEIGHTS, shallow=False)


def speed(directory: Path, way: str, mesh: DeviceMesh, ids: torch.Tensor) -> float:
    """Tokens per second of a training step in bfloat16."""
    model = registry.load_model(directory, mesh=mesh, parallel=way, dtype="bfloat16")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seconds = []
    for _ in range(5):
        dist.barrier()
        start = perf_counter()
        losses(model, ids, 1, optimizer)
        seconds.append(perf_counter() - start)
    batches = mesh.size() if way == "fsdp" else mesh.mesh.shape[0] if way == "fsdp+tp" else 1
    return ids.numel() * batches / median(seconds[1:])


def say(text: str) -> None:
    """Print once."""
    if dist.get_rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
