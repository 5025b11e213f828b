"""Train a GPT-2 that several processes share, of which each has a part of every parameter (FSDP).

    torchrun --standalone --nproc-per-node 2 examples/finetune_fsdp.py OUTPUT

Killed at any time, the same command resumes from the last checkpoint, also with another --nproc-per-node: the batch of
a step is the same for any number of processes, and so are the losses.  At the end OUTPUT/model is the directory that
one process would save, which the registry and transformers load.

Without --model the weights are new, in the shape of GPT-2's smallest, and tokens are bytes.  The text is the reference
of Python's language, which comes with Python.
"""

import pydoc_data.topics
import warnings
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.optim.lr_scheduler import LambdaLR

import registry
from registry.errors import UntrainedWarning
from registry.zoo import GPT2Config, GPT2LMHeadModel

WARMUP = 10
"""Steps in which the learning rate rises."""
SHAPES: dict[str, dict[str, Any]] = {
    "small": {},
    "tiny": {"vocab_size": 257, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 2},
}
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


@click.command(help=__doc__)
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--model", help="Name or directory of a causal model with its tokenizer, in place of new weights.")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="small", show_default=True, help="Of new weights.")
@click.option("--steps", default=100, show_default=True, help="Steps of training.")
@click.option("--batch", default=6, show_default=True, help="Texts of a step; the processes divide them.")
@click.option("--tokens", default=64, show_default=True, help="Tokens of a text.")
@click.option("--rate", default=3e-4, show_default=True, help="Learning rate.")
@click.option("--every", default=10, show_default=True, help="Steps between two checkpoints.")
def main(
    output: Path, model: str | None, shape: str, steps: int, batch: int, tokens: int, rate: float, every: int
) -> None:
    """Train on all processes, and save."""
    warnings.simplefilter("ignore", UntrainedWarning)  # that weights are new is meant
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    mesh = init_device_mesh("cuda" if on_gpu else "cpu", (dist.get_world_size(),))
    if on_gpu:
        torch.cuda.set_device(mesh.get_local_rank())
    if batch % dist.get_world_size():
        raise click.UsageError(f"{dist.get_world_size()} processes cannot divide {batch} texts evenly: change --batch.")
    tokenizer = None if model is None else registry.load_tokenizer(model)
    text = "\n".join(pydoc_data.topics.topics.values())
    ids = torch.tensor(list(text.encode()) if tokenizer is None else tokenizer.encode(text))
    trained = train(
        model or new_weights(output / "start", shape), output / "training", mesh, ids, steps, batch, tokens, rate, every
    )
    registry.save(trained, output / "model", tokenizer=tokenizer)
    dist.destroy_process_group()


def new_weights(directory: Path, shape: str) -> Path:
    """A directory with a GPT-2 that was never trained, which the first process writes."""
    if dist.get_rank() == 0 and not directory.exists():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**SHAPES[shape], **NO_DROPOUT))
        model.init_weights()
        registry.save(model, directory)
    dist.barrier()
    return directory


def train(
    start: str | Path,
    checkpoint: Path,
    mesh: DeviceMesh,
    ids: Tensor,
    steps: int,
    batch: int,
    tokens: int,
    rate: float,
    every: int,
) -> Any:
    """The trained model; training begins at the checkpoint where there is one."""
    model = registry.load_model(start, "causal-lm", mesh=mesh, parallel="fsdp").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP))
    if (checkpoint / "checkpoint.json").exists():
        registry.checkpoint.load(checkpoint, model, optimizer, schedule)
    for step in range(schedule.last_epoch, steps):
        inputs = batch_of(ids, step, batch, tokens)[mesh.get_local_rank() :: mesh.size()].to(mesh.device_type)
        loss = model(inputs, labels=inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        report(step + 1, loss.detach())
        if (step + 1) % every == 0:
            registry.checkpoint.save(checkpoint, model, optimizer, schedule)
    return model.eval()


def batch_of(ids: Tensor, step: int, batch: int, tokens: int) -> Tensor:
    """The ids of the texts of a step, ``(batch, tokens)``."""
    starts = torch.randint(len(ids) - tokens, (batch,), generator=torch.Generator().manual_seed(step))
    return torch.stack([ids[start : start + tokens] for start in starts.tolist()])


def report(step: int, loss: Tensor) -> None:
    """Print the loss of a step, the mean of all processes, once."""
    dist.all_reduce(loss)
    if dist.get_rank() == 0:
        print(f"step {step}: loss {loss.item() / dist.get_world_size():.6f}", flush=True)


if __name__ == "__main__":
    main()
