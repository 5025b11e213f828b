"""``registry pull NAME...``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table, say


@click.command()
@name_argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--update", is_flag=True, help="Download again, and report what changed.")
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@json_option
def command(names: tuple[str, ...], update: bool, revision: str | None, as_json: bool) -> None:
    """Download models; print their directories.

    A model that was downloaded once loads without a network.  An interrupted download continues where it ended.
    """
    from registry.sources.pull import pull_files
    from registry.sources.resolve import resolve

    for name in names:
        resolve(name, revision=revision)  # a misspelled name is an error before anything is downloaded
    results = []
    for name in names:
        try:
            pulled = pull_files(name, update=update, revision=revision)
        except KeyboardInterrupt:
            say("Interrupted. The same command continues the download.")
            raise
        results.append(pulled)
        if not as_json:
            print_table(("file", "state"), list(pulled.files.items()))
            echo(pulled.path)
    if as_json:
        print_json(results[0] if len(results) == 1 else results)
