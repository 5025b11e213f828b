"""``registry list``."""

from typing import TYPE_CHECKING

import click

from registry.cli.names import complete_values
from registry.cli.output import count_in_words, json_option, print_json, print_table, say, size_in_words

if TYPE_CHECKING:
    from registry.records import Card


@click.command()
@click.argument("pattern", required=False)
@click.option(
    "--architecture",
    metavar="NAME",
    shell_complete=complete_values(lambda card: [card.architecture]),
    help="Only models of this architecture.",
)
@click.option(
    "--task",
    metavar="NAME",
    shell_complete=complete_values(lambda card: [card.task]),
    help="Only models whose weights are for this task.",
)
@click.option(
    "--language",
    metavar="CODE",
    shell_complete=complete_values(lambda card: card.languages),
    help="Only models for this language (ISO 639: en, de).",
)
@click.option("--cached/--not-cached", default=None, help="Only models that are (not) on this computer.")
@click.option(
    "--sort",
    type=click.Choice(["name", "size"]),
    help="Order by name, or the smallest first; else in the order of the plugins.",
)
@json_option
def command(
    pattern: str | None,
    architecture: str | None,
    task: str | None,
    language: str | None,
    cached: bool | None,
    sort: str | None,
    as_json: bool,
) -> None:
    """List the models that can be loaded by name.

    PATTERN is a glob such as 'bert-*', or a word that the name contains.  A size with '~' before it is not published,
    but follows from the number of parameters, at four bytes each.
    """
    from registry.catalogue import plugins, search
    from registry.files.locations import is_local

    cards = search(pattern, architecture=architecture, task=task, language=language, cached=cached)
    if sort is not None:
        cards.sort(key=_SORT_KEYS[sort])
    if as_json:
        print_json([{**_fields(card), "size": card.size, "cached": is_local(card)} for card in cards])
        return
    if not cards:
        say("No model matches.")
        return
    print_table(
        ("name", "architecture", "task", "languages", "parameters", "size", "cached"),
        [
            (
                card.name,
                card.architecture,
                card.task,
                _few(card.languages),
                count_in_words(card.num_parameters),
                size_in_words(card.size) if card.size is not None else _estimated(card),
                "yes" if is_local(card) else "",
            )
            for card in cards
        ],
        numbers=("parameters", "size"),
    )
    for plugin in plugins():
        for record, winner in plugin.shadowed.items():
            say(f"{record} of {plugin} is hidden by the one of {winner}.")


def _fields(card: "Card") -> dict[str, object]:
    import attrs

    return {field.name: getattr(card, field.name) for field in attrs.fields(type(card))}


def _bytes(card: "Card") -> int | None:
    """The size that is known, or that follows from the number of parameters; None where neither is known."""
    return card.size if card.size is not None or card.num_parameters is None else 4 * card.num_parameters


_SORT_KEYS = {
    "name": lambda card: card.name,
    "size": lambda card: (_bytes(card) is None, _bytes(card) or 0, card.name),
}


def _estimated(card: "Card") -> str:
    size = _bytes(card)
    return "" if size is None else f"~{size_in_words(round(size, -6))}".replace(".0 MB", " MB")


def _few(languages: tuple[str, ...]) -> str:
    return ", ".join(languages[:3]) + " ..." * (len(languages) > 3)
