"""``registry inspect NAME``."""

import re
from typing import TYPE_CHECKING

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table, say
from registry.formatting import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.weights.headers import Header, Headers


@click.command()
@name_argument(metavar="FILE|NAME")
@click.option("--summary", is_flag=True, help="Show equal tensors of several layers on one line.")
@json_option
def command(name: str, summary: bool, as_json: bool) -> None:
    """List the tensors of a checkpoint: names, shapes, types, sizes.

    Only headers are read.  With --summary, '*' stands for the numbers of layers that have a tensor of this shape.
    """
    from registry.weights.inspect import find

    found = find(name)
    headers = found.headers()
    if as_json:
        fields = ("shape", "dtype", "nbytes")
        print_json({name: {field: getattr(header, field) for field in fields} for name, header in headers.items()})
        return
    if summary:
        rows = [
            (name, str(len(several)), _shape(several[0].shape), several[0].dtype, format_size(_bytes(several)))
            for name, several in _by_layer(headers).items()
        ]
        print_table(("name", "times", "shape", "type", "size"), rows, numbers=("times", "size"))
    else:
        each = [(name, _shape(h.shape), h.dtype, format_size(h.nbytes)) for name, h in headers.items()]
        print_table(("name", "shape", "type", "size"), each, numbers=("size",))
    total = format_size(_bytes(headers.values()))
    echo(f"{len(headers):,} tensors, {total}, format {found.spec.format}: {', '.join(found.files)}.")
    if found.ignored_files:
        say(f"Ignored: {', '.join(found.ignored_files)}.")


def _by_layer(headers: "Headers") -> "dict[str, list[Header]]":
    """The tensors by their names without the numbers of layers; one of another shape or type stands alone."""
    found: dict[str, list[Header]] = {}
    for name, header in headers.items():
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", name)
        alike = found.setdefault(pattern, [])
        if alike and (alike[0].shape, alike[0].dtype) != (header.shape, header.dtype):
            found[name] = [header]
        else:
            alike.append(header)
    return found


def _bytes(headers: "Iterable[Header]") -> int:
    return sum(header.nbytes for header in headers)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"
