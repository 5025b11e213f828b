"""``registry diff A B``."""

from typing import TYPE_CHECKING

import click

from registry.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from registry.weights.headers import Header


@click.command()
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@json_option
@click.pass_context
def command(context: click.Context, left: str, right: str, as_json: bool) -> None:
    """Compare the weights of two models or files.

    Told are names and shapes that differ, and the largest difference of each tensor. Formats and spellings of names do
    not matter where a configuration lies beside one of the two.  Ends with 0 when all weights are equal, else with 1.
    """
    from registry.weights.inspect import compare

    differences = list(compare(left, right))
    unequal = [difference for difference in differences if not difference.equal]
    if as_json:
        print_json(unequal)
    else:
        if unequal:
            print_table(
                ("name", "A", "B", "largest difference"),
                [(d.name, _look(d.left), _look(d.right), _number(d.largest)) for d in unequal],
            )
        click.echo(f"{len(differences) - len(unequal):,} of {len(differences):,} tensors are equal.")
    context.exit(1 if unequal else 0)


def _look(header: "Header | None") -> str:
    return "-" if header is None else f"{header.dtype} {' x '.join(map(str, header.shape))}".rstrip()


def _number(largest: float | None) -> str:
    return "" if largest is None else f"{largest:.3g}"
