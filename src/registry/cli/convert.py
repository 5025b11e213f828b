"""``registry convert SRC DST``."""

from typing import Any

import click

from registry.cli.output import json_option, print_fields, print_json


def _overrides(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Fields with their values, which are JSON, or text where they are not."""
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
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="DST", type=click.Path(file_okay=False))
@click.option("--to", type=click.Choice(("safetensors", "torch")), default="safetensors", help="Format of the weights.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_overrides,
    help="Set a field of the configuration, such as num_labels=3.",
)
@json_option
def command(source: str, folder: str, to: Any, overrides: dict[str, Any], as_json: bool) -> None:
    """Save a model of any readable format as a folder.

    SRC is a name, a path or an address; a TensorFlow checkpoint is named by its prefix, or by the folder around it.
    What is written is read again, and compared.
    """
    from registry.loading.convert import convert

    done = convert(source, folder, to=to, **overrides)
    if as_json:
        print_json(done)
        return
    print_fields(
        {
            "folder": str(done.folder),
            "model": done.model,
            "tokenizer": done.tokenizer or "none: the source has no files of one",
            "read from": done.report.source,
            "tensors": f"{len(done.report.loaded):,}",
            "newly initialised": _few(done.report.new),
            "left out": _few(done.report.dropped),
        }
    )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
