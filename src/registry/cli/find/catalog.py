"""``registry catalog OUT``."""

from pathlib import Path

import click

from registry.cli.output import json_option, print_json, progress, say


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@json_option
def command(out: Path, as_json: bool) -> None:
    """Build a static HTML catalog of all models.

    OUT is a new directory, or an earlier catalog, which is replaced.  The site works without a network.
    """
    from registry.catalog import search
    from registry.pages.catalog import write_catalog

    cards = search()
    with progress("Writing", len(cards), unit="pages") as advance:
        index = write_catalog(out, cards, advance=advance)
    if as_json:
        print_json({"index": index, "models": len(cards)})
    else:
        say(f"Wrote {len(cards):,} models; open {index}.")
