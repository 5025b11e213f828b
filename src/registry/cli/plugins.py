"""``registry plugins``."""

import click

from registry.cli.output import json_option, print_json, print_table


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the plugins, and say why one is not at work."""
    from registry.catalogue import plugins

    found = plugins()
    if as_json:
        print_json(found)
        return
    print_table(
        ("plugin", "distribution", "state", "imported in", "declares"),
        [
            (
                plugin.name,
                f"{plugin.distribution} {plugin.version}" if plugin.distribution else "",
                plugin.state,
                f"{1000 * plugin.import_seconds:.1f} ms",
                ", ".join(_counted(kind, len(names)) for kind, names in plugin.declares.items()),
            )
            for plugin in found
        ],
        numbers=("imported in",),
    )
    for plugin in found:
        for line in (plugin.error or "").splitlines():
            click.echo(line if plugin.state == "failed" else f"{plugin} is {line}.")
        for record, winner in plugin.shadowed.items():
            click.echo(f"{record} of {plugin} is hidden by the one of {winner}.")


def _counted(kind: str, number: int) -> str:
    words = kind.replace("_", " ")
    return f"{number} {words.removesuffix('s') if number == 1 else words}"
