"""``registry info NAME``."""

import click

from registry.cli.names import name_argument
from registry.cli.output import card_as_json, echo, json_option, print_fields, print_json, print_table
from registry.formatting import format_size


@click.command()
@name_argument()
@json_option
def command(name: str, as_json: bool) -> None:
    """Show a model's card (no download)."""
    from registry.catalog import info
    from registry.discovery import owner
    from registry.sources.card import is_local

    card = info(name)
    if as_json:
        print_json(card_as_json(card))
        return
    print_fields(
        {
            "name": card.name,
            "aliases": ", ".join(card.aliases),
            "description": card.description,
            "architecture": card.architecture,
            "task": card.task,
            "parameters": f"{card.num_parameters:,}" if card.num_parameters else None,
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
    )
