"""``registry page KIND ... OUT``: pages about models, each one file that opens without a network."""

from pathlib import Path
from typing import BinaryIO

import click

from registry.cli.names import complete_names, name_argument
from registry.cli.output import json_option, print_json
from registry.cli.pages import announce, in_a_directory, open_option
from registry.cli.run.trained import device_option, load_trained
from registry.cli.texts import lines_of, text_argument
from registry.formatting import format_size

out_argument = click.argument("out", type=click.Path(dir_okay=False, path_type=Path), callback=in_a_directory)


@click.group()
def command() -> None:
    """Write an HTML page about a model.

    OUT is one self-contained file that opens without a network.  Each kind takes --json, which prints where it is.
    """


@command.command()
@text_argument()
@out_argument
@click.option(
    "-m", "--model", "names", multiple=True, required=True, shell_complete=complete_names, metavar="NAME",
    help="A model whose tokenizer is shown; several stand next to each other.",
)  # fmt: skip
@open_option
@json_option
def tokens(text: str, out: Path, names: tuple[str, ...], opens: bool, as_json: bool) -> None:
    """Show how a text is tokenized, by one tokenizer or several.

    TEXT may be '-' for stdin.
    """
    from registry.pages.tokens import tokens_page
    from registry.tokenization.load import load_tokenizer

    _write(tokens_page({name: load_tokenizer(name) for name in names}, text), out, opens, as_json)


@command.command("next")
@name_argument()
@text_argument("prompt")
@out_argument
@click.option("--max-new-tokens", type=click.IntRange(0), default=20, show_default=True, help="Tokens to generate.")
@click.option("--top", type=click.IntRange(1, 100), default=10, show_default=True, help="Likely tokens at each place.")
@device_option
@open_option
@json_option
def next_tokens(
    name: str, prompt: str, out: Path, max_new_tokens: int, top: int, device: str | None, opens: bool, as_json: bool
) -> None:
    """Show next-token probabilities, token by token.

    PROMPT may be '-' for stdin.
    """
    from registry.pages.next_tokens import next_tokens_page

    loaded = load_trained(name, "causal-lm", device)
    _write(next_tokens_page(loaded, name, prompt, max_new_tokens=max_new_tokens, top=top), out, opens, as_json)


@command.command()
@name_argument("left", metavar="A")
@name_argument("right", metavar="B")
@out_argument
@open_option
@json_option
def compare(left: str, right: str, out: Path, opens: bool, as_json: bool) -> None:
    """Show what changed between two checkpoints."""
    from registry.pages.comparison import comparison_page

    _write(comparison_page(left, right), out, opens, as_json)


@command.command()
@name_argument()
@out_argument
@click.option("--task", metavar="NAME", help="The task to load the model for (default: that of the model).")
@open_option
@json_option
def report(name: str, out: Path, task: str | None, opens: bool, as_json: bool) -> None:
    """Show the load report of a model."""
    from registry.loading.pretrained import load
    from registry.pages.report import report_page

    loaded = load(name, task)
    _write(report_page(loaded.report, loaded.model, name), out, opens, as_json)


@command.command()
@name_argument()
@click.argument("lines", type=click.File("rb"))
@out_argument
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Texts per batch.")
@device_option
@open_option
@json_option
def neighbors(
    name: str, lines: BinaryIO, out: Path, batch_size: int, device: str | None, opens: bool, as_json: bool
) -> None:
    """Map the lines of a file by their embeddings.

    Each line is a dot, and has a list of its nearest neighbors.

    LINES is a file of texts, or - for stdin.
    """
    from registry.loading.pretrained import load
    from registry.pages.neighbors import neighbors_page

    loaded = load(name, "base", device=device)
    _write(neighbors_page(loaded, name, lines_of(lines), batch_size=batch_size), out, opens, as_json)


@command.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@out_argument
@click.option("--title", help="A line above the curves (default: the name of the file).")
@open_option
@json_option
def curves(log: Path, out: Path, title: str | None, opens: bool, as_json: bool) -> None:
    """Draw the columns of a training log, a CSV file, as an SVG."""
    from registry.pages.curves import curves_svg, read_curves

    _write(curves_svg(read_curves(log), title or log.stem), out, opens, as_json)


def _write(page: str, out: Path, opens: bool, as_json: bool) -> None:
    from registry.files.atomic import content_writer
    from registry.saving.folder import write_file

    written = write_file(out, content_writer(page))
    if as_json:
        print_json({"path": written, "bytes": written.stat().st_size})
    else:
        announce(written, format_size(written.stat().st_size), opens=opens)
