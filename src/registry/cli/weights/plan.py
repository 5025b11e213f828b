"""``registry plan NAME``."""

from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_fields, print_json, print_table
from registry.errors import UnknownOptionError
from registry.formatting import format_size


def mesh_of(text: str) -> dict[str, int]:
    """The sizes of a mesh, as ``fsdp=8,tp=8`` says them.

    Raises:
        UnknownOptionError: The text says something else.
    """
    found = {}
    for part in text.split(","):
        name, _, size = part.partition("=")
        if not size.isdigit():
            raise UnknownOptionError(
                f"--mesh {text} is not a mesh.", hint="Write --mesh fsdp=8,tp=8, or one of the two."
            )
        found[name.strip()] = int(size)
    return found


def batch_of(text: str) -> tuple[int, int]:
    """Sequences and tokens, as ``8x512`` says them.  Raises UnknownOptionError."""
    sequences, _, tokens = text.partition("x")
    if not (sequences.isdigit() and tokens.isdigit()):
        raise UnknownOptionError(
            f"--batch {text} is not a batch.", hint="Write --batch 8x512: sequences, and tokens of each."
        )
    return int(sequences), int(tokens)


@click.command()
@name_argument()
@click.option("--mesh", required=True, metavar="SIZES", help="Processes in each dimension: fsdp=8,tp=8.")
@click.option("--task", help="What the model is for, as for the other commands.")
@click.option("--dtype", help="Type of the parameters; float32 unless given.")
@click.option("--batch", default="1x512", show_default=True, help="Sequences of a process, and tokens of each.")
@click.option("--optimizer", default="adamw", show_default=True, help="adamw, momentum or sgd.")
@json_option
def command(as_json: bool, name: str, mesh: str, batch: str, **options: Any) -> None:
    """Compute the memory per process of a sharded model.

    Only its configuration is read: no weights are downloaded, and no process is started.
    """
    from registry.distributed.planning import plan

    found = plan(name, mesh=mesh_of(mesh), batch=batch_of(batch), **options)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "model": f"{found.model}, {found.parameters:,} parameters, {format_size(found.nbytes)} as {found.dtype}",
            "processes": f"{len(found.per_process)}: {', '.join(f'{k} {v}' for k, v in found.mesh.items())}",
            "parameters": f"{format_size(min(found.per_process))} to {format_size(found.most)} a process",
            "gathered": f"{format_size(found.gathered)} at a time",
            "gradients": format_size(found.gradients),
            "optimizer": format_size(found.optimizer),
            "activations": f"about {format_size(found.activations)}, {format_size(found.recomputed)} with gradient "
            f"checkpointing, of {found.batch[0]} x {found.batch[1]} tokens",
            "training": f"about {format_size(found.training)} a process",
            "complete": ", ".join(found.complete) if found.mesh.get("tp", 1) > 1 else None,
        }
    )
    echo()
    print_table(
        ("rule", "tensors", "bytes", "a process"),
        [(r.rule, f"{r.tensors:,}", format_size(r.nbytes), format_size(r.per_process)) for r in found.rules],
        numbers=("tensors", "bytes", "a process"),
    )
