"""Reads which plugins the installed distributions announce; imports none of them.

Metadata are found as ``importlib.metadata`` finds them.  To import that module takes longer than to find a model among
two hundred plugins: so the directories on ``sys.path`` are read here, and that module is used only for other places of
distributions: archives, eggs, and finders of an application.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from registry.discovery.order import names_in
from registry.discovery.plugin import Plugin, canonicalize_name, describe_exception
from registry.errors import RegistryWarning, did_you_mean, warn
from registry.hookspecs import ENTRY_POINT_GROUP

DISTRIBUTION = "torch-registry"
"""The distribution that ships this package; the names of its plugins win."""

Metadata: TypeAlias = tuple[str, Callable[[str], str | None]]
"""The path of a distribution's metadata, and the reader of one of their files: None when there is no such file."""

METADATA_SUFFIXES = (".dist-info", ".egg-info")
"""Endings of the directories in which installers leave metadata, the preferred one first."""
LEFTOVERS = ("~", "-", ".")
"""How names of directories begin that pip (``~``, once ``-``) or another tool was about to remove."""


class PluginWarning(RegistryWarning):
    """A plugin, or the metadata that could announce one, was ignored."""


def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins that installed distributions announce: first-party ones as declared, then others by name.

    Each distribution is read on its own, so that damaged metadata of one cannot hide the others; the first of a name on
    ``sys.path`` counts, as it does for Python's imports.  Where one directory on it has several of a name, which an
    interrupted installation leaves, the newest version does.
    """
    found: dict[str, list[Plugin]] = {}
    places: dict[str, str] = {}
    for path, read in distributions():
        try:
            plugins = _announced(read)
        except Exception as problem:  # noqa: BLE001  # a damaged file fails in many ways: UnicodeDecodeError, OSError
            _warn(f"The entry points of {path} cannot be read ({describe_exception(problem)}).")
            continue
        if not plugins:
            continue
        name = canonicalize_name(str(plugins[0].distribution))
        counted, at = found.setdefault(name, plugins), places.setdefault(name, path)
        if counted is plugins:
            continue
        if _directory(path) == _directory(at) and _rank(plugins, path) > _rank(counted, at):
            found[name], places[name] = plugins, path
            counted, plugins, path = plugins, counted, at
        if counted[0].version != plugins[0].version:
            _warn(f"{plugins[0].origin} at {path} is hidden by {counted[0].origin}.")
    installed = [plugin for plugins in found.values() for plugin in plugins]
    for name in names_in("REGISTRY_PLUGINS") or ():
        if not any(plugin.is_called(name) for plugin in installed):
            meant = did_you_mean(name, [plugin.name for plugin in installed])
            _warn(f"REGISTRY_PLUGINS names {name!r}, which is not installed.{meant}")
    return tuple(
        sorted(installed, key=lambda plugin: "" if plugin.first_party else canonicalize_name(str(plugin.distribution)))
    )


def _directory(metadata: str) -> str:
    return os.path.dirname(metadata)  # noqa: PTH120  # as texts, as the paths are here


def _rank(plugins: list[Plugin], metadata: str) -> tuple[Any, ...]:
    """What counts of the metadata of one distribution in one directory: the newest, and a wheel's before an egg's."""
    return version_key(plugins[0].version or ""), metadata.endswith(METADATA_SUFFIXES[0])


def version_key(version: str) -> tuple[Any, ...]:
    """A key by which versions are sorted as PEP 440 has it; local versions are not told apart."""
    found = re.match(_VERSION, version.strip().lower())
    if found is None:
        return ()
    release = [int(number) for number in found["release"].split(".")]
    while release and not release[-1]:
        release.pop()
    dev = inf if found["dev"] is None else int(found["dev"] or 0)
    phase = found["phase"] or ("" if dev == inf else "dev")
    return int(found["epoch"] or 0), release, _PHASES[phase], int(found["number"] or 0), dev


_VERSION = (
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<phase>alpha|a|beta|b|rc|c|post|rev|r)[-_.]?(?P<number>\d*))?(?:[-_.]?dev(?P<dev>\d*))?"
)
_PHASES = {"dev": 0, "a": 1, "alpha": 1, "b": 2, "beta": 2, "c": 3, "rc": 3, "": 4, "post": 5, "rev": 5, "r": 5}


def _announced(read: Callable[[str], str | None]) -> list[Plugin]:
    entries = list(entries_in(read("entry_points.txt") or ""))
    if not entries:
        return []  # the rule: no more of it is read
    described = _name_and_version(next(filter(None, map(read, ("METADATA", "PKG-INFO", ""))), ""))
    if "Name" not in described:
        raise ValueError("METADATA gives no name: is it half removed?")
    name, version = described["Name"], described.get("Version")
    ours = canonicalize_name(name) == DISTRIBUTION
    return [Plugin(entry, name, version, ours, target) for entry, target in entries]


def entries_in(text: str) -> Iterator[tuple[str, str]]:
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
    return dict(re.findall(r"^(Name|Version): *(\S{1,200})", text.partition("\n\n")[0], re.MULTILINE))


def _warn(message: str) -> None:
    warn(message, PluginWarning)


# --- Metadata ---------------------------------------------------------------------------------------------------------


def distributions() -> Iterator[Metadata]:
    """The metadata of every distribution, in the order of ``sys.path``; none is read yet."""
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        yield from _others(sys.path)
        return
    for entry in map(os.fspath, sys.path):
        names = _listing(entry)
        if names is None or entry.endswith(".egg"):
            yield from _others([entry]) if Path(entry).exists() else ()
            continue
        for name in names:
            if name.lower().endswith(METADATA_SUFFIXES) and not name.startswith(LEFTOVERS):
                path = os.path.join(entry, name)  # noqa: PTH118  # a Path for each takes a third of the time of a scan
                yield path, partial(_read, path)


def _listing(entry: str) -> list[str] | None:
    """The names in an entry of ``sys.path``; None when it is not a directory that can be read."""
    try:
        return os.listdir(entry or ".")  # noqa: PTH208  # names are all that is wanted
    except (OSError, ValueError):
        return None


def _read(directory: str, name: str) -> str | None:
    """Unbuffered: files are small, and there are hundreds."""
    try:
        with open(f"{directory}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  # by a Path it takes half as long again
            return file.read().decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return None


def _others(path: list[str]) -> Iterator[Metadata]:
    from importlib import metadata

    for distribution in metadata.distributions(path=path):
        where = str(getattr(distribution, "_path", None) or distribution.locate_file(""))
        name = os.path.basename(where)  # noqa: PTH119  # of whatever finder it may be
        if not (name.startswith(LEFTOVERS) and name.lower().endswith(METADATA_SUFFIXES)):
            yield where, distribution.read_text
