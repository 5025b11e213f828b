"""Reads which plugins the installed distributions announce; imports none of them."""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial

from registry.discovery import distributions
from registry.discovery.plugin import Plugin, describe_exception, import_entry_point, normal
from registry.errors import RegistryWarning, did_you_mean
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
    for place, read in distributions.installed():
        try:
            plugins = _announced(read)
        except Exception as problem:  # noqa: BLE001  # a damaged file fails in many ways: UnicodeDecodeError, OSError
            _warn(f"The entry points of {place} cannot be read ({describe_exception(problem)}).")
            continue
        if plugins:
            counted = found.setdefault(normal(str(plugins[0].distribution)), plugins)
            if counted[0].version != plugins[0].version:
                _warn(f"{plugins[0].origin} at {place} is hidden by {counted[0].origin}.")
    installed = [plugin for plugins in found.values() for plugin in plugins]
    for name in names_in("REGISTRY_PLUGINS") or ():
        if not any(plugin.is_called(name) for plugin in installed):
            meant = did_you_mean(name, [plugin.name for plugin in installed])
            _warn(f"REGISTRY_PLUGINS names {name!r}, which is not installed.{meant}")
    return tuple(sorted(installed, key=lambda plugin: "" if plugin.first_party else normal(str(plugin.distribution))))


def _announced(read: Callable[[str], str | None]) -> list[Plugin]:
    entries = list(_entries(read("entry_points.txt") or ""))
    if not entries:
        return []  # the rule: no more of it is read
    described = _name_and_version(next(filter(None, map(read, ("METADATA", "PKG-INFO", ""))), ""))
    if "Name" not in described:
        raise ValueError("METADATA gives no name: is it half removed?")
    name, version = described["Name"], described.get("Version")
    ours = normal(name) == DISTRIBUTION
    return [Plugin(entry, name, version, ours, partial(import_entry_point, target)) for entry, target in entries]


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Name and target of each entry point of our group, in the text of an ``entry_points.txt``."""
    group = None
    for line in map(str.strip, text.splitlines()) if ENTRY_POINT_GROUP in text else ():
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group is not None and line and not line.startswith("#"):
            name, equals, target = (part.strip() for part in line.partition("="))
            if not equals:
                raise ValueError(f"{line!r} is not of the form 'name = module'")
            if group == ENTRY_POINT_GROUP:
                yield name, target


def _name_and_version(text: str) -> dict[str, str]:
    """These two headers alone: to parse all of them and the description would take most of the time of a scan."""
    return dict(re.findall(r"^(Name|Version): *(\S+)", text.partition("\n\n")[0], re.MULTILINE))


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=2)
