"""``registry search WORDS...``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from registry.cli.output import card_as_json, json_option, print_json, print_table, say
from registry.errors import RegistryError
from registry.formatting import format_count

if TYPE_CHECKING:
    from registry.cli.find.hub_search import HubModel
    from registry.records import Card


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--hub/--no-hub", default=None, help="Also search the hub (default: where downloads are allowed).")
@click.option("--all", "unsupported", is_flag=True, help="Show models of the hub that no installed plugin loads, too.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Models of the hub at most.")
@json_option
def command(words: tuple[str, ...], hub: bool | None, unsupported: bool, limit: int, as_json: bool) -> None:
    """Search names and descriptions of models, here and on the hub.

    A known model is found when its name, aliases, description, architecture, task, languages and license together have
    all WORDS.  Nothing is downloaded.
    """
    from registry.catalog import search_words
    from registry.download.policy import Policy

    cards = search_words(words)
    on_hub: list[HubModel] = []
    if hub or (hub is None and not Policy().is_offline):
        try:
            on_hub = _on_hub(words, limit, {name for card in cards for name in (card.name, *card.aliases)})
        except RegistryError as problem:
            if hub:
                raise
            say(f"The hub was not searched: {problem.message}")
    shown = [(model, _architecture(model)) for model in on_hub]
    loadable = [(model, architecture) for model, architecture in shown if architecture or unsupported]
    if as_json:
        print_json({"known": [card_as_json(card) for card in cards], "hub": [_keys(*pair) for pair in loadable]})
    else:
        _print(words, cards, loadable, hidden=len(shown) - len(loadable))


def _on_hub(words: Sequence[str], limit: int, known: set[str]) -> "list[HubModel]":
    """What the hub finds, without the models that are shown already."""
    from registry.cli.find.hub_search import search_hub  # imports requests

    return [model for model in search_hub(" ".join(words), limit) if model.name not in known]


def _architecture(model: "HubModel") -> str | None:
    """The installed architecture that a tag of the model names; None where there is none."""
    from registry import discovery

    for tag in model.tags:
        if (spec := discovery.architecture_of_model_type(tag)) is not None:
            return spec.architecture
    return None


def _keys(model: "HubModel", architecture: str | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "architecture": architecture,
        "task": model.task,
        "downloads": model.downloads,
        "tags": list(model.tags),
    }


def _print(
    words: Sequence[str], cards: "Sequence[Card]", on_hub: "Sequence[tuple[HubModel, str | None]]", hidden: int
) -> None:
    rows = [
        *((card.name, card.architecture, card.task, "", card.description) for card in cards),
        *(
            (model.name, architecture or "not installed", model.task or "", format_count(model.downloads), "")
            for model, architecture in on_hub
        ),
    ]
    if rows:
        print_table(
            ("name", "architecture", "task", "downloads", "description"),
            rows,
            numbers=("downloads",),
            spare=("downloads", "architecture", "task"),
        )
    else:
        say(f"No model matches {' '.join(words)!r}.")
    if hidden:
        say(f"{hidden} more on the hub are of architectures that no installed plugin loads; --all shows them.")
