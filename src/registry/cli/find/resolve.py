"""``registry resolve NAME``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_fields, print_json


@click.command()
@name_argument()
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@json_option
def command(name: str, revision: str | None, as_json: bool) -> None:
    """Show how a name is resolved, and by which rule."""
    from registry.sources.resolve import resolve

    found = resolve(name, revision=revision)
    if as_json:
        fields = ("asked", "kind", "rule", "card", "path", "url", "revision")
        print_json({name: getattr(found, name) for name in fields})
        return
    print_fields(
        {
            "meaning": str(found),
            "because": found.rule,
            "path": str(found.path or ""),
            "URL": found.url,
            "revision": found.revision,
        }
    )
