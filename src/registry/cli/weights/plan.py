"""``registry plan NAME``."""

import re
from typing import Any

import click

from registry.cli.names import complete_values, name_argument
from registry.cli.output import echo, json_option, print_fields, print_json, print_table
from registry.distributed.planning import OPTIMIZERS, plan
from registry.formatting import format_size

MESH = re.compile(r"(fsdp|tp)=([1-9]\d*)")
BATCH = re.compile(r"([1-9]\d*)x([1-9]\d*)")


def _mesh(_context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, int]:
    """The sizes of a mesh, as ``fsdp=8,tp=8`` says them.  Raises BadParameter."""
    found = [MESH.fullmatch(part.strip()) for part in text.split(",")]
    sizes = {part[1]: int(part[2]) for part in found if part}
    if len(sizes) < len(found):
        raise click.BadParameter(f"{text!r} is not a mesh; write fsdp=8,tp=8, or one of the two.")
    return sizes


def _batch(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    """Sequences and tokens, as ``8x512`` says them.  Raises BadParameter."""
    found = BATCH.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a batch; write 8x512 for 8 sequences of 512 tokens.")
    return int(found[1]), int(found[2])


@click.command()
@name_argument()
@click.option(
    "--mesh", required=True, metavar="SIZES", callback=_mesh, help="Processes in each dimension: fsdp=8,tp=8."
)
@click.option(
    "--task",
    metavar="NAME",
    shell_complete=complete_values(lambda card: [card.task]),
    help="Task of the model (default: that of its card or its configuration).",
)
@click.option("--dtype", metavar="NAME", help="Type of the weights, such as bfloat16 (default: float32).")
@click.option(
    "--batch",
    default="1x512",
    show_default=True,
    metavar="SIZES",
    callback=_batch,
    help="Sequences of a process, and tokens of each.",
)
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adamw", show_default=True, help="Optimizer.")
@json_option
def command(as_json: bool, name: str, **options: Any) -> None:
    """Compute the memory per process of a sharded model.

    Only its configuration is read: no weights are downloaded, and no process is started.
    """
    found = plan(name, **options)
    parameters = dict.fromkeys(map(format_size, (min(found.per_process), found.most)))
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "model": f"{found.model}, {found.parameters:,} parameters, {format_size(found.nbytes)} as {found.dtype}",
            "processes": f"{len(found.per_process)}: {', '.join(f'{k} {v}' for k, v in found.mesh.items())}",
            "parameters": f"{' to '.join(parameters)} a process",
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
