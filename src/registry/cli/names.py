"""Arguments and options that take a model's name, with shell completion."""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from registry.formatting import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from registry.records import Card

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

Command = TypeVar("Command", bound=Callable[..., Any])

ON_DISK = (".", "/", "~", "file:")
"""Beginnings of paths, as opposed to names."""


def complete_names(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Names of models that begin with the incomplete word; files and directories for a path, or where there is none."""
    from click.shell_completion import CompletionItem

    if incomplete.startswith(ON_DISK):
        return [CompletionItem(incomplete, type="file")]
    named = {name: card for card in _cards() for name in (card.name, *card.aliases)}
    found = [
        CompletionItem(name, help=printable(card.description, lines=False))
        for name, card in named.items()
        if name.startswith(incomplete) and ("/" in incomplete or name == card.name)
    ]
    return found or [CompletionItem(incomplete, type="file")]


def complete_values(values: "Callable[[Card], Iterable[str]]") -> Completer:
    """A completer of values from cards: ``complete_values(lambda card: [card.task])``."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        known = sorted({value for card in _cards() for value in values(card)})
        return [CompletionItem(value) for value in known if value.startswith(incomplete)]

    return complete


def _cards() -> "list[Card]":
    from registry.catalog import search

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning would be printed over the prompt
        return search()


def name_argument(parameter: str = "name", **settings: Any) -> Callable[[Command], Command]:
    """An argument that takes a model's name, or several, and completes it; ``settings`` are those of click."""
    return click.argument(parameter, shell_complete=complete_names, **settings)
