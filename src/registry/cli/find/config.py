"""``registry config NAME``."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, print_table, say
from registry.cli.overrides import set_option
from registry.formatting import json_text

if TYPE_CHECKING:
    from registry.config import Config

LABELS = ("id2label", "num_labels", "_num_labels", "label2id")
"""Keys of a file that give the labels."""


class ConfigValue(NamedTuple):
    """The value of a field of a configuration."""

    name: str
    value: Any
    origin: str
    """Where the value comes from: a file, with the key where that is another name; ``default``, ``card``, ``--set``."""


@click.command()
@name_argument()
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@set_option
@json_option
def command(name: str, revision: str | None, overrides: dict[str, Any], as_json: bool) -> None:
    """Show a model's configuration, and where each value comes from.

    A value comes from the model's config.json (in parentheses the key, if that has another name), or is the default of
    the architecture.  Keys that the architecture does not have are kept, and not used.
    """
    from registry.cli.find.described import config_of_card
    from registry.config.load import read_config
    from registry.errors import NotCachedError
    from registry.sources.files import Files

    files = Files.named(name, revision=revision)
    card = files.source.card
    try:
        described = read_config(files, overrides)
        config, keys, file = described.config, described.keys, described.path.name
    except NotCachedError:
        if card is None:
            raise
        config, keys, file = config_of_card(card, overrides), card.config, "card"
        say(f"The configuration of {card.name} is not on this computer; these are the values of its card.")
    fields = list(_fields(config, keys, file, overrides))
    if as_json:
        print_json({field.name: {"value": field.value, "from": field.origin} for field in fields})
    else:
        rows = [(field.name, json_text(field.value), field.origin) for field in fields]
        print_table(("field", "value", "from"), rows)


def _fields(
    config: "Config", keys: Mapping[str, Any], file: str, overrides: Mapping[str, Any]
) -> Iterator[ConfigValue]:
    """The fields of a configuration, each with the origin of its value."""
    spellings = {**config.general_names, **config.aliases}
    written = {spellings.get(key, key): key for key in keys}
    chosen = {spellings.get(key, key) for key in overrides}
    for name, value in config.to_dict().items():
        key = next((key for key in LABELS if key in keys), None) if name in LABELS else written.get(name)
        if name in chosen or (name in LABELS and chosen.intersection(LABELS)):
            origin = "--set"
        elif name in config.extra:
            origin = f"{file}, not used"
        elif key is not None:
            origin = file if key == name else f"{file} ({key})"
        else:
            origin = "default"
        yield ConfigValue(name, value, origin)
