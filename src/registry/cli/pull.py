"""``registry pull NAME``."""

import click

from registry.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("name")
@click.option("--update", is_flag=True, help="Fetch anew what is here already, and say what changed.")
@click.option("--revision", help="Branch, tag or commit of a repository of the hub.")
@json_option
def command(name: str, update: bool, revision: str | None, as_json: bool) -> None:
    """Bring all files of a model into the cache; print their folder.

    A model that was pulled, or used once, loads without a network.
    """
    from registry.sources.pull import pull_files

    pulled = pull_files(name, update=update, revision=revision)
    if as_json:
        print_json(pulled)
        return
    print_table(("file", "state"), list(pulled.files.items()))
    click.echo(pulled.path)
