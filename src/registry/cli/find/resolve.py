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
    from registry.files.urls import without_secrets
    from registry.sources.resolve import resolve

    found = resolve(name, revision=revision)
    url = None if found.url is None else without_secrets(found.url)
    if as_json:
        fields = ("asked", "kind", "rule", "card", "path", "url", "revision")
        keys = {name: getattr(found, name) for name in fields}
        print_json({**keys, "asked": without_secrets(found.asked), "url": url})
        return
    print_fields(
        {
            "meaning": str(found),
            "because": found.rule,
            "path": "" if found.path is None else str(found.path.absolute()),
            "URL": url,
            "revision": found.revision,
        }
    )
