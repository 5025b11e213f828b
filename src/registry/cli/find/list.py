"""``registry list``."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from registry.cli.names import complete_names, complete_values
from registry.cli.output import card_as_json, json_option, print_json, print_table, say
from registry.errors import did_you_mean
from registry.formatting import format_count, format_size

if TYPE_CHECKING:
    from registry.records import Card


@click.command()
@click.argument("pattern", required=False, shell_complete=complete_names)
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
    help="Only models with weights for this task.",
)
@click.option(
    "--language",
    metavar="CODE",
    shell_complete=complete_values(lambda card: card.languages),
    help="Only models for this language (ISO 639: en, de).",
)
@click.option("--cached/--not-cached", default=None, help="Only downloaded models, or only others.")
@click.option(
    "--sort",
    type=click.Choice(["name", "size"]),
    help="Sort by name or size (default: plugin order).",
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

    PATTERN is a glob such as 'bert-*', or a part of the name.  A size with '~' is estimated from the number of
    parameters, at four bytes each.
    """
    from registry.catalog import plugins, search

    _check_conditions(architecture=architecture, task=task, language=language)
    cards = search(pattern, architecture=architecture, task=task, language=language, cached=cached)
    if sort is not None:
        cards.sort(key=_SORT_KEYS[sort])
    if as_json:
        print_json([card_as_json(card) for card in cards])
        return
    if not cards:
        say("No matching models." if pattern is None else _nothing_like(pattern))
        return
    _print(cards)
    for plugin in plugins():
        for record, winner in plugin.shadowed.items():
            say(f"{record} of {plugin} is shadowed by the one of {winner}.")


def _print(cards: "Iterable[Card]") -> None:
    from registry.sources.card import is_local

    print_table(
        ("name", "architecture", "task", "languages", "parameters", "size", "cached"),
        [
            (
                card.name,
                card.architecture,
                card.task,
                _few(card.languages),
                format_count(card.num_parameters),
                _size(card),
                "yes" if is_local(card) else "no",
            )
            for card in cards
        ],
        numbers=("parameters", "size"),
        spare=("languages", "cached", "parameters", "architecture", "task"),
    )


def _check_conditions(**conditions: str | None) -> None:
    """Raise UsageError for a value that no model can have: it is misspelled."""
    from registry import discovery
    from registry.records import TASKS, Card, ConfigSpec

    cards = discovery.every(Card)
    known = {
        "architecture": {
            *(c.architecture for c in cards),
            *(spec.architecture for spec in discovery.every(ConfigSpec)),
        },
        "task": {*TASKS, *(card.task for card in cards)},
        "language": {code for card in cards for code in card.languages},
    }
    for name, value in conditions.items():
        if value is not None and value not in known[name]:
            raise click.UsageError(
                f"no model has the {name} {value!r}.{did_you_mean(value, known[name])} Known: "
                f"{', '.join(sorted(known[name]))}."
            )


def _nothing_like(pattern: str) -> str:
    from registry import discovery
    from registry.records import Card

    names = [name for card in discovery.every(Card) for name in (card.name, *card.aliases)]
    suggestion = did_you_mean(pattern, names)
    return f"No model is named {pattern!r}.{suggestion} `registry search WORDS` also looks into descriptions."


def _size_then_name(card: "Card") -> tuple[bool, int, str]:
    """A sort key; unknown sizes come last."""
    from registry.catalog import estimated_size

    size = estimated_size(card)
    return size is None, size or 0, card.name


_SORT_KEYS: Mapping[str, "Callable[[Card], Any]"] = {"name": lambda card: card.name, "size": _size_then_name}


def _size(card: "Card") -> str:
    from registry.catalog import estimated_size

    size = estimated_size(card)
    return f"~{format_size(size)}" if card.size is None and size is not None else format_size(size)


def _few(languages: tuple[str, ...]) -> str:
    return ", ".join(languages[:3]) + " ..." * (len(languages) > 3)
