"""``registry pull NAME``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table


@click.command()
@name_argument()
@click.option("--update", is_flag=True, help="Download again, and report what changed.")
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@json_option
def command(name: str, update: bool, revision: str | None, as_json: bool) -> None:
    """Download a model; print its directory.

    A model that was downloaded once loads without a network.
    """
    from registry.sources.pull import pull_files

    pulled = pull_files(name, update=update, revision=revision)
    if as_json:
        print_json(pulled)
        return
    print_table(("file", "state"), list(pulled.files.items()))
    echo(pulled.path)
