"""``registry convert SRC DST``."""

from pathlib import Path
from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_fields, print_json
from registry.cli.overrides import set_option
from registry.formatting import first_of


@click.command()
@name_argument("source", metavar="SRC")
@click.argument("directory", metavar="DST", type=click.Path(file_okay=False))
@click.option("--to", type=click.Choice(("safetensors", "torch")), default="safetensors", help="Format of the weights.")
@set_option
@click.option("--allow-missing", metavar="PATTERN", multiple=True, help="Parameters that SRC may lack: 'pooler.*'.")
@click.option("--allow-unexpected", metavar="PATTERN", multiple=True, help="Tensors of SRC that are dropped: '*.old'.")
@click.option("--force", is_flag=True, help="Replace the model in DST.")
@json_option
def command(source: str, directory: str, overrides: dict[str, Any], force: bool, as_json: bool, **options: Any) -> None:
    """Convert a checkpoint to safetensors or torch.

    SRC is a name, a path or a URL; a TensorFlow checkpoint is given by its prefix or its directory.  DST is a new
    directory.  The weights are read again after writing, and compared.
    """
    target = Path(directory)
    if target.is_dir() and any(target.iterdir()) and not force:
        raise click.UsageError(
            f"{directory} is not empty: choose another DST, or replace the model there with --force."
        )
    if Path(source).exists() and target.exists() and target.samefile(source):
        raise click.UsageError("SRC and DST are the same directory: choose another DST.")
    from registry.loading.convert import convert

    done = convert(source, directory, **options, **overrides)
    if as_json:
        print_json(done)
        return
    print_fields(
        {
            "directory": str(done.folder),
            "model": done.model,
            "tokenizer": done.tokenizer or "none: the source has no tokenizer files",
            "read from": done.report.source,
            "tensors": f"{len(done.report.loaded):,}",
            "newly initialized": first_of((*done.report.new, *done.report.missing), 5),
            "dropped": first_of(done.report.dropped, 5),
        }
    )
