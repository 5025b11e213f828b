"""``registry catalog OUT``."""

from pathlib import Path

import click

from registry.cli.output import json_option, print_json, progress
from registry.cli.pages import announce, open_option, open_page


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path), default=Path("catalog"), required=False)
@open_option
@json_option
def command(out: Path, opens: bool, as_json: bool) -> None:
    """Build a static HTML catalog of all models.

    OUT is a new directory (default: catalog), or an earlier catalog, which is replaced.  The site works without a
    network.
    """
    from registry.catalog import search
    from registry.pages.catalog import write_catalog

    cards = search()
    with progress("Writing", len(cards), unit="pages") as advance:
        index = write_catalog(out, cards, advance=advance)
    if as_json:
        print_json({"index": index, "models": len(cards)})
        if opens:
            open_page(index)
    else:
        announce(index, f"{len(cards):,} models", opens=opens)
