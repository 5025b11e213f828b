"""``registry diff A B``."""

from typing import TYPE_CHECKING

import click

from registry.cli.exit_codes import ExitCode
from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from registry.weights.headers import Header


@click.command()
@name_argument("left", metavar="A")
@name_argument("right", metavar="B")
@json_option
@click.pass_context
def command(context: click.Context, left: str, right: str, as_json: bool) -> None:
    """Compare the weights of two models or files.

    Reports differing names and shapes, and the largest difference of each tensor.  Formats and spellings of names
    do not matter if one of the two has a configuration.  Exits with 0 if all weights are equal, else with 1.
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
                [(d.name, _described(d.left), _described(d.right), _number(d.largest)) for d in unequal],
            )
        echo(f"{len(differences) - len(unequal):,} of {len(differences):,} tensors are equal.")
    context.exit(ExitCode.ERROR if unequal else ExitCode.DONE)


def _described(header: "Header | None") -> str:
    return "-" if header is None else f"{header.dtype} {' x '.join(map(str, header.shape))}".rstrip()


def _number(largest: float | None) -> str:
    return "" if largest is None else f"{largest:.3g}"
