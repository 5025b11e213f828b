"""``registry verify NAME|DIRECTORY``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, print_table, say


@click.command()
@name_argument(metavar="NAME|DIRECTORY")
@click.option("--no-resume", is_flag=True, help="Hash all files, also those that an interrupted run had hashed.")
@json_option
def command(name: str, no_resume: bool, as_json: bool) -> None:
    """Verify checksums of a model's files.

    They come from its card, from the manifest of a saved directory, or from the first download.  A run that was
    interrupted is continued within a day: large files that it hashed, and that did not change, are not hashed again.
    """
    from registry.saving.verify import verify

    found = verify(name, resume=not no_resume)
    if as_json:
        print_json(found)
    else:
        print_table(("file", "state"), list(found.items()))
        if "ok" not in found.values():
            say("Nothing was verified: no digest of these files is known.")
