"""``registry verify NAME|DIRECTORY``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, print_table, say


@click.command()
@name_argument(metavar="NAME|DIRECTORY")
@json_option
def command(name: str, as_json: bool) -> None:
    """Verify checksums of a model's files.

    They come from its card, from the manifest of a saved directory, or from the first download.
    """
    from registry.saving.verify import verify

    found = verify(name)
    if as_json:
        print_json(found)
    else:
        print_table(("file", "state"), list(found.items()))
        if "ok" not in found.values():
            say("Nothing was verified: no digest of these files is known.")
