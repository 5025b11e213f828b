"""``registry resolve NAME``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_fields, print_json


@click.command()
@name_argument
@click.option("--revision", help="Branch, tag or commit of a repository of the hub.")
@json_option
def command(name: str, revision: str | None, as_json: bool) -> None:
    """Say what a name is taken to mean, and why."""
    from registry.sources.resolve import resolve

    found = resolve(name, revision=revision)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "meaning": str(found),
            "because": found.rule,
            "path": str(found.path or ""),
            "address": found.url,
            "revision": found.revision,
        }
    )
