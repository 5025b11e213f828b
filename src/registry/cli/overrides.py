"""The option ``--set FIELD=VALUE``, which replaces fields of a configuration."""

from typing import Any

import click


def _overrides(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Fields with their values: JSON, or text where it is not valid JSON."""
    import json

    found: dict[str, Any] = {}
    for word in values:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{word!r} is not of the form FIELD=VALUE.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_overrides,
    help="Set a field of the configuration: num_labels=3.",
)
