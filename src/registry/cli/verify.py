"""``registry verify NAME|DIR``."""

import click

from registry.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("name", metavar="NAME|DIR")
@json_option
def command(name: str, as_json: bool) -> None:
    """Compare the files of a model with what was promised.

    What was promised is on its card, in the manifest of a saved folder, or was noted when the file was first used.
    """
    from registry.saving.verify import verify

    found = verify(name)
    if as_json:
        print_json(found)
    else:
        print_table(("file", "state"), list(found.items()))
