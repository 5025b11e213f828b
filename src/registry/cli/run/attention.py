"""``registry attention NAME TEXT OUT``."""

from pathlib import Path

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, say
from registry.cli.run.trained import device_option
from registry.formatting import format_size


@click.command()
@name_argument()
@click.argument("text")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@device_option
@json_option
def command(name: str, text: str, out: Path, device: str | None, as_json: bool) -> None:
    """Visualize attention as an HTML page.

    OUT is one self-contained file with the attention of every layer and head between the tokens of TEXT.
    """
    from registry.files.atomic import content_writer
    from registry.loading.pretrained import load
    from registry.pages.attention import attention_page
    from registry.saving.folder import write_file

    page = attention_page(load(name, "base", device=device), name, text)
    written = write_file(out, content_writer(page))
    if as_json:
        print_json({"path": written, "bytes": written.stat().st_size})
    else:
        say(f"Wrote {format_size(written.stat().st_size)}; open {written}.")
