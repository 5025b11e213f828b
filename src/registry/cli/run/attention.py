"""``registry attention NAME TEXT OUT``."""

from pathlib import Path

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json
from registry.cli.pages import announce, in_a_directory, open_option, open_page
from registry.cli.run.trained import device_option
from registry.cli.texts import text_argument
from registry.formatting import format_size


@click.command()
@name_argument()
@text_argument()
@click.argument(
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("attention.html"),
    required=False,
    callback=in_a_directory,
)
@click.option("--pair", metavar="TEXT", help="A second text: attention within a pair of sentences.")
@device_option
@open_option
@json_option
def command(name: str, text: str, out: Path, pair: str | None, device: str | None, opens: bool, as_json: bool) -> None:
    """Visualize attention as an HTML page.

    TEXT may be '-' for stdin.  OUT (default: attention.html) is one self-contained file with the attention of every
    layer and head between the tokens of TEXT.
    """
    from registry.files.atomic import content_writer
    from registry.loading.pretrained import load
    from registry.pages.attention import attention_page
    from registry.saving.folder import write_file

    page = attention_page(load(name, "base", device=device), name, text, pair)
    written = write_file(out, content_writer(page))
    if as_json:
        print_json({"path": written, "bytes": written.stat().st_size})
        if opens:
            open_page(written)
    else:
        announce(written, format_size(written.stat().st_size), opens=opens)
