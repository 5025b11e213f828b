"""The precedence of plugins, as values.

These are named tuples, since every process makes the classes, and those of attrs take six times as long.
"""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from registry.discovery.plugin import Plugin
from registry.errors import UnknownPluginError, did_you_mean


class Ranks(NamedTuple):
    """The plugins of one lookup, by rank; the first that declares a name wins."""

    preferred: tuple[Plugin, ...]
    """Those that ``prefer`` names, then those that ``REGISTRY_PREFER`` does."""
    first_party: tuple[Plugin, ...]
    """The others of the distribution that ships the registry."""
    third_party: tuple[Plugin, ...]
    """All others; they are used only when the former have no such record, and two records are a conflict."""
    disabled: Mapping[Plugin, str]
    """Those that are not used, and why."""

    @property
    def winners(self) -> tuple[Plugin, ...]:
        """Those whose names win."""
        return self.preferred + self.first_party

    @property
    def enabled(self) -> tuple[Plugin, ...]:
        """All that are used, in the order of lookup."""
        return self.winners + self.third_party


class Order(NamedTuple):
    """What ``register``, ``prefer`` and ``only`` have set; each replaces the whole value."""

    registered: tuple[Plugin, ...] = ()
    """The plugins that were registered at run time."""
    preferred: tuple[str, ...] = ()
    """Names whose plugins win, the first before the second."""
    narrowed: tuple[tuple[str, ...], ...] = ()
    """The names of every ``only`` that is in force."""

    def ranks(self, plugins: Iterable[Plugin]) -> Ranks:
        """Divide plugins by rank, after these settings and the environment of this moment."""
        allowed, refused = names_in("REGISTRY_PLUGINS"), names_in("REGISTRY_DISABLE_PLUGINS")
        enabled, disabled = [], {}
        for plugin in plugins:
            if reason := self._why_disabled(plugin, allowed, refused or ()):
                disabled[plugin] = reason
            else:
                enabled.append(plugin)
        names = (*self.preferred, *(names_in("REGISTRY_PREFER") or ()))
        preferred = dict.fromkeys(plugin for name in names for plugin in enabled if plugin.is_called(name))
        return Ranks(
            preferred=tuple(preferred),
            first_party=tuple(plugin for plugin in enabled if plugin.first_party and plugin not in preferred),
            third_party=tuple(plugin for plugin in enabled if not plugin.first_party and plugin not in preferred),
            disabled=disabled,
        )

    def _why_disabled(self, plugin: Plugin, allowed: Iterable[str] | None, refused: Iterable[str]) -> str | None:
        if any(not _is_one_of(names, plugin) for names in self.narrowed):
            return "disabled by only()"
        if plugin.distribution is None:
            return None
        if allowed is not None and not _is_one_of(allowed, plugin):
            return "not among REGISTRY_PLUGINS"
        return "named by REGISTRY_DISABLE_PLUGINS" if _is_one_of(refused, plugin) else None


def names_in(variable: str) -> list[str] | None:
    """The names in an environment variable, separated by commas or spaces; None when it is not set."""
    value = os.environ.get(variable)
    return None if value is None else value.replace(",", " ").split()


def named(name: str, plugins: Iterable[Plugin]) -> list[Plugin]:
    """The plugins that ``name`` means; several when it is a distribution's.  Raises UnknownPluginError."""
    plugins = list(plugins)
    found = [plugin for plugin in plugins if plugin.is_called(name)]
    if not found:
        known = [plugin.name for plugin in plugins]
        raise UnknownPluginError(
            f"no plugin is called {name!r}.{did_you_mean(name, known)}",
            hint=f"`registry plugins` lists them: {', '.join(known) or 'none'}.",
        )
    return found


def _is_one_of(names: Iterable[str], plugin: Plugin) -> bool:
    return any(plugin.is_called(name) for name in names)
