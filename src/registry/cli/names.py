"""Names on the command line: the arguments and options that take one, which shells complete."""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from registry.records import Card

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

ON_DISK = (".", "/", "~", "file:")
"""How a path begins, as opposed to a name."""


def complete_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Names of models that begin so, or files and folders."""
    from click.shell_completion import CompletionItem

    if incomplete.startswith(ON_DISK):
        return [CompletionItem(incomplete, type="file")]
    named = {name: card for card in _cards() for name in (card.name, *card.aliases)}
    return [
        CompletionItem(name, help=card.description)
        for name, card in named.items()
        if name.startswith(incomplete) and ("/" in incomplete or name == card.name)
    ]


def complete_values(values: "Callable[[Card], Iterable[str]]") -> Complete:
    """Complete by what cards say: ``complete_values(lambda card: [card.task])``."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        known = sorted({value for card in _cards() for value in values(card)})
        return [CompletionItem(value) for value in known if value.startswith(incomplete)]

    return complete


def _cards() -> "list[Card]":
    from registry.catalog import search

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken plugin is no reason to write over somebody's prompt
        return search()


name_argument = click.argument("name", shell_complete=complete_names)
