"""``registry convert SRC DST``."""

from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_fields, print_json
from registry.formatting import first_of


def _overrides(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Fields with their values: JSON, or text where it is not valid JSON."""
    import json

    found: dict[str, Any] = {}
    for word in values:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{word!r} is not of the form FIELD=VALUE.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


@click.command()
@name_argument("source", metavar="SRC")
@click.argument("directory", metavar="DST", type=click.Path(file_okay=False))
@click.option("--to", type=click.Choice(("safetensors", "torch")), default="safetensors", help="Format of the weights.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_overrides,
    help="Set a field of the configuration: num_labels=3.",
)
@json_option
def command(source: str, directory: str, to: Any, overrides: dict[str, Any], as_json: bool) -> None:
    """Convert a checkpoint to safetensors or torch.

    SRC is a name, a path or a URL; a TensorFlow checkpoint is given by its prefix or its directory.  The weights are
    read again after writing, and compared.
    """
    from registry.loading.convert import convert

    done = convert(source, directory, to=to, **overrides)
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
            "newly initialized": first_of(done.report.new, 5),
            "dropped": first_of(done.report.dropped, 5),
        }
    )
