"""Reads which plugins the installed distributions announce; imports none of them."""

import os
import re
import warnings
from functools import cache, partial
from importlib import metadata

from registry.errors import RegistryWarning, did_you_mean
from registry.harvest import Plugin, import_entry_point, in_words, normal
from registry.hookspecs import ENTRY_POINT_GROUP

DISTRIBUTION = "torch-registry"
"""The distribution that ships this package; the names of its plugins win."""


class PluginWarning(RegistryWarning):
    """A plugin, or the metadata that could announce one, was left out."""


def names_in(variable: str) -> list[str] | None:
    """The names in an environment variable, separated by commas or spaces; None when it is not set."""
    value = os.environ.get(variable)
    return None if value is None else value.replace(",", " ").split()


@cache
def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins that installed distributions announce: first-party ones as declared, then others by name.

    Each distribution is read on its own, so that damaged metadata of one cannot hide the others; the first of a name on
    ``sys.path`` counts, as it does for Python's imports.
    """
    found: dict[str, list[Plugin]] = {}
    for distribution in metadata.distributions():
        try:
            plugins = _announced(distribution)
        except Exception as problem:  # noqa: BLE001  # a damaged file fails in many ways: TypeError, UnicodeDecodeError
            _warn(f"The entry points of {_place(distribution)} cannot be read ({in_words(problem)}).")
            continue
        if plugins:
            counted = found.setdefault(normal(str(plugins[0].distribution)), plugins)
            if counted[0].version != plugins[0].version:
                _warn(f"{plugins[0].origin} at {_place(distribution)} is hidden by {counted[0].origin}.")
    installed = [plugin for plugins in found.values() for plugin in plugins]
    for name in names_in("REGISTRY_PLUGINS") or ():
        if not any(plugin.is_called(name) for plugin in installed):
            meant = did_you_mean(name, [plugin.name for plugin in installed])
            _warn(f"REGISTRY_PLUGINS names {name!r}, which is not installed.{meant}")
    return tuple(sorted(installed, key=lambda plugin: "" if plugin.first_party else normal(str(plugin.distribution))))


def _announced(distribution: metadata.Distribution) -> list[Plugin]:
    if ENTRY_POINT_GROUP not in (distribution.read_text("entry_points.txt") or ""):
        return []  # the rule; to parse the rest, which takes longer, is none of our business
    entries = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    described = _name_and_version(distribution)
    if "Name" not in described:
        raise ValueError("METADATA gives no name: is it half removed?")
    name, version = described["Name"], described.get("Version")
    ours = normal(name) == DISTRIBUTION
    return [Plugin(entry.name, name, version, ours, partial(import_entry_point, entry)) for entry in entries]


def _name_and_version(distribution: metadata.Distribution) -> dict[str, str]:
    """These two headers alone: to parse all of them and the description would take most of the time of a scan."""
    text = next(filter(None, map(distribution.read_text, ("METADATA", "PKG-INFO", ""))), "")
    return dict(re.findall(r"^(Name|Version): *(\S+)", text.partition("\n\n")[0], re.MULTILINE))


def _place(distribution: metadata.Distribution) -> str:
    """Where a distribution's metadata are; only those on a disk know the very folder."""
    return str(getattr(distribution, "_path", None) or distribution.locate_file(""))


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=2)
