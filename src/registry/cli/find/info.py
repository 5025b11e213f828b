"""``registry info NAME``."""

from typing import TYPE_CHECKING

import click

from registry.cli.names import name_argument
from registry.cli.output import card_as_json, echo, json_option, print_fields, print_json, print_table
from registry.formatting import format_size

if TYPE_CHECKING:
    from registry.records import Card
    from registry.sources.source import Source


@click.command()
@name_argument()
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@json_option
def command(name: str, revision: str | None, as_json: bool) -> None:
    """Describe a model, a saved directory or a hub repository.

    Of a model with a card nothing is downloaded; of a hub repository, the list of its files and its config.json.
    """
    from registry.sources.resolve import resolve

    source = resolve(name, revision=revision)
    card = source.card
    if card is not None:
        print_json(card_as_json(card)) if as_json else _print_card(card)
    else:
        _print_files(source, as_json)


def _print_card(card: "Card") -> None:
    from registry.cli.find.described import sizes_of_card
    from registry.discovery import owner
    from registry.sources.card import is_local

    print_fields(
        {
            "name": card.name,
            "aliases": ", ".join(card.aliases),
            "description": card.description,
            "architecture": card.architecture,
            "task": card.task,
            "parameters": f"{card.num_parameters:,}" if card.num_parameters else None,
            **sizes_of_card(card),
            "languages": ", ".join(card.languages),
            "license": card.license,
            "source": card.source,
            "tokenizer": ", ".join(f"{option}={value}" for option, value in card.tokenizer.items()),
            "configuration": ", ".join(f"{field}={value}" for field, value in card.config.items()),
            "plugin": str(owner(card)),
            "downloaded": "yes" if is_local(card) else "no",
        }
    )
    echo()
    print_table(
        ("role", "file", "size", "sha256"),
        [(f.role, f.filename, format_size(f.size), f.sha256 or "") for f in card.files],
        numbers=("size",),
        spare=("sha256",),
    )


def _print_files(source: "Source", as_json: bool) -> None:
    """Print what the files of a model without a card say."""
    from registry.cli.find.described import listed, of_files, of_hub
    from registry.sources.files import Files

    files = Files(source)
    described = of_files(files)
    about = {"name": str(source), "revision": source.revision, **of_hub(files), **described}
    names = list(listed(files))
    if as_json:
        keys = {label.replace(" ", "_"): value for label, value in about.items()}
        print_json({**keys, "files": [{"filename": name, "size": size} for name, size in names]})
        return
    print_fields(about)
    echo()
    print_table(("file", "size"), [(name, format_size(size)) for name, size in names], numbers=("size",))
