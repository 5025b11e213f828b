"""``registry inspect NAME``."""

import click

from registry.cli.output import json_option, print_json, print_table, size_in_words


@click.command()
@click.argument("name", metavar="FILE|NAME")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show the tensors in files of weights: names, shapes, types, sizes.

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
        [(name, _shape(header.shape), header.dtype, size_in_words(header.nbytes)) for name, header in headers.items()],
    )
    total = size_in_words(sum(header.nbytes for header in headers.values()))
    click.echo(f"{len(headers):,} tensors, {total}, in the format {found.spec.format}: {', '.join(found.files)}.")
    if found.passed_over:
        click.echo(f"Passed over: {', '.join(found.passed_over)}.", err=True)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
