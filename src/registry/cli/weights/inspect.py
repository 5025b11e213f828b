"""``registry inspect NAME``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table, say
from registry.formatting import format_size


@click.command()
@name_argument(metavar="FILE|NAME")
@json_option
def command(name: str, as_json: bool) -> None:
    """List the tensors of a checkpoint: names, shapes, types, sizes.

    Only headers are read.
    """
    from registry.weights.inspect import find

    found = find(name)
    headers = found.headers()
    if as_json:
        print_json(headers)
        return
    print_table(
        ("name", "shape", "type", "size"),
        [(name, _shape(header.shape), header.dtype, format_size(header.nbytes)) for name, header in headers.items()],
    )
    total = format_size(sum(header.nbytes for header in headers.values()))
    echo(f"{len(headers):,} tensors, {total}, format {found.spec.format}: {', '.join(found.files)}.")
    if found.ignored_files:
        say(f"Ignored: {', '.join(found.ignored_files)}.")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"
