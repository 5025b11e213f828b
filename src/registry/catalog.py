"""The models and layers that installed plugins declare, and the plugins.

Nothing here imports torch or an architecture, except ``layer``, which returns a class.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from registry import discovery
from registry.discovery import PluginInfo as PluginInfo
from registry.discovery import plugins as plugins
from registry.errors import UnknownLayerError, did_you_mean
from registry.records import TASK_ALIASES, Card, ConfigSpec, LayerSpec
from registry.sources.card import is_local
from registry.sources.resolve import unknown_model

if TYPE_CHECKING:
    from torch import nn


def list_models(
    pattern: str | None = None,
    *,
    architecture: str | None = None,
    task: str | None = None,
    language: str | None = None,
    cached: bool | None = None,
) -> list[str]:
    """Names of the models that installed plugins declare and that meet every given condition.

    Args:
        pattern: A glob over names and aliases (``"bert-*"``); a word without ``*``, ``?`` and ``[`` may stand anywhere
            in them.
        architecture: The architecture of the model.
        task: The task of its card, which is the richest one.
        language: One of its languages, as an ISO 639 code.
        cached: True for models all of whose files are available without a network, False for the others.

    Returns:
        Names in the order of lookup: first-party models first.

    Raises:
        CardFileError: A card file (``REGISTRY_CARDS``) is wrong.
    """
    cards = search(pattern, architecture=architecture, task=task, language=language, cached=cached)
    return [card.name for card in cards]


def search(
    pattern: str | None = None,
    *,
    architecture: str | None = None,
    task: str | None = None,
    language: str | None = None,
    cached: bool | None = None,
) -> list[Card]:
    """The cards of the models that ``list_models`` names; it takes the same conditions."""
    return [
        card
        for card in discovery.every(Card)
        if (pattern is None or _is_called(card, pattern))
        and architecture in (None, card.architecture)
        and (task is None or card.task in (task, TASK_ALIASES.get(task)))
        and (language is None or language in card.languages)
        and (cached is None or cached == is_local(card))
    ]


def search_words(words: Iterable[str]) -> list[Card]:
    """The cards that have all of some words, in any case of letters.

    Args:
        words: Words or parts of words; they may stand in the name, an alias, the description, the architecture, the
            task, a language code or the license.
    """
    wanted = [word.lower() for word in words]
    return [card for card in discovery.every(Card) if all(word in _text_of(card) for word in wanted)]


def _text_of(card: Card) -> str:
    """What ``search_words`` looks through."""
    about = (card.description, card.architecture, card.task, card.license or "")
    return "\n".join((card.name, *card.aliases, *about, *card.languages)).lower()


def info(name: str) -> Card:
    """The card of a model.

    Args:
        name: The name of the model, or an alias.

    Raises:
        UnknownModelError: No installed plugin declares the name.
        PluginConflictError: Two plugins declare it, and neither is preferred.
        CardFileError: A card file (``REGISTRY_CARDS``) has a wrong entry for the model.
    """
    card = discovery.card(name)
    if card is None:
        raise unknown_model(name)
    return card


def unusable_cards() -> dict[str, str]:
    """The cards that no installed plugin can load, by name, each with the reason."""
    configs = [spec.architecture for spec in discovery.every(ConfigSpec)]
    found = {}
    for card in discovery.every(Card):
        tasks = list(discovery.architecture(card.architecture).models)
        if card.architecture not in configs:
            near = did_you_mean(card.architecture, configs)
            found[card.name] = f"no installed plugin declares the architecture {card.architecture!r}.{near}"
        elif card.task not in tasks:
            near = did_you_mean(card.task, tasks)
            found[card.name] = f"{card.architecture!r} has no model for the task {card.task!r}.{near}"
    return found


def estimated_size(card: Card) -> int | None:
    """Bytes of the files on disk; four for each parameter where their sizes are not known, None if neither is known."""
    return card.size if card.size is not None or card.num_parameters is None else 4 * card.num_parameters


def list_layers(architecture: str | None = None) -> list[LayerSpec]:
    """The layers that installed plugins declare.

    Args:
        architecture: The architecture of the layers; all when None.
    """
    return [spec for spec in discovery.every(LayerSpec) if architecture in (None, spec.architecture)]


def layer(architecture: str, name: str) -> "type[nn.Module]":
    """The class of a declared layer: ``layer("my-architecture", "pooler")``.

    Args:
        architecture: The architecture of the layer.
        name: The name of the layer.

    Raises:
        UnknownLayerError: No installed plugin declares the layer.
        PluginConflictError: Two plugins declare it, and neither is preferred.
        PluginLoadError: Its module cannot be imported.
    """
    spec = discovery.architecture(architecture).layers.get(name)
    if spec is None:
        raise _unknown_layer(architecture, name)
    cls: type[nn.Module] = discovery.load_class(spec)
    return cls


def _unknown_layer(architecture: str, name: str) -> UnknownLayerError:
    names = [spec.name for spec in list_layers(architecture)]
    if names:
        return UnknownLayerError(
            f"{architecture!r} has no layer named {name!r}.{did_you_mean(name, names)}",
            hint=f"Its layers are {', '.join(names)}.{discovery.failures()}",
        )
    architectures = dict.fromkeys(spec.architecture for spec in list_layers())
    return UnknownLayerError(
        f"no installed plugin declares layers of {architecture!r}.{did_you_mean(architecture, architectures)}",
        hint=f"Architectures with layers: {', '.join(architectures) or 'none'}.{discovery.failures()}",
    )


def _is_called(card: Card, pattern: str) -> bool:
    pattern = pattern.lower()
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return any(fnmatchcase(name.lower(), pattern) for name in (card.name, *card.aliases))
