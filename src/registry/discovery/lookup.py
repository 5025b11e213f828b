"""Finds plugins, isolates broken ones, and answers "who declares X?".

Plugins are announced by installed distributions under the entry-point group ``registry.v1``.  They are looked for once
per process, when something is first asked; each is imported when it is first needed.  Names are looked for in this
order, and the first plugin that declares the name wins:

1. plugins that ``prefer`` names,
2. the file of cards that ``REGISTRY_CARDS`` names, which can add to the cards of plugins (see ``card_file``),
3. first-party plugins: those of the distribution that ships this package,
4. all others, which are imported only now; two of them with one name are an error when that name is used.

Environment: ``REGISTRY_PLUGINS`` (only these; empty for none) and ``REGISTRY_DISABLE_PLUGINS`` (all but these) list
plugins or distributions; what they leave out is never imported.  With ``REGISTRY_STRICT=1``, a plugin that fails is an
error instead of a warning; a file of cards that is wrong always is one.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module, invalidate_caches
from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any

from attrs import frozen

from registry.discovery.architecture import Architecture
from registry.discovery.entry_points import DISTRIBUTION, PluginWarning, installed_plugins, names_in
from registry.discovery.plugin import ClassSpec, Kind, Plugin, R, describe_exception
from registry.errors import CardFileError, PluginConflictError, PluginLoadError, UnknownPluginError, did_you_mean
from registry.hookspecs import PROJECT, RECORD_TYPES, hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, Record, TokenizerSpec, WeightLoaderSpec


@frozen(kw_only=True)
class PluginInfo:
    """What is known of one plugin."""

    name: str
    """The name of its entry point, or the one that it was registered under."""
    distribution: str | None
    """The distribution that announces it; None when it was registered at run time."""
    version: str | None
    state: str
    """``loaded``, ``failed``, ``disabled``; ``found`` or ``loading`` before it has answered."""
    first_party: bool
    declares: Mapping[str, tuple[str, ...]]
    """``{"cards": ("my-tiny", ...), "models": ("my-architecture/masked-lm", ...)}``"""
    shadowed: Mapping[str, str]
    """Those of its names which another plugin wins: ``{"Card my-tiny": "other"}``."""
    import_seconds: float
    error: str | None
    """Why it failed or is disabled."""

    def __str__(self) -> str:
        return self.name if self.distribution is None else f"{self.name} ({self.distribution} {self.version})"


_lock = RLock()
_registered: list[Plugin] = []
_preferred: list[str] = []
_narrowed: list[tuple[str, ...]] = []
"""The names of every ``only`` that is in force."""


# --- Questions --------------------------------------------------------------------------------------------------------


def find(key: tuple[str, ...], asked: str) -> Any:
    """The record that ``keys_of`` gives this key, in the order of lookup; None when no plugin declares one.

    ``asked`` says in messages what was looked for.  Raises PluginConflictError when two plugins that are neither
    preferred nor first-party declare it.
    """
    with _lock:
        winners, others = _ranked()
        for plugin in winners:
            _ask(plugin)
            if key in plugin.index:
                return plugin.index[key]
        for plugin in others:
            _ask(plugin)
        return _sole([plugin for plugin in others if key in plugin.index], lambda plugin: plugin.index[key], asked)


def in_order(kind: Kind[R]) -> Iterator[R]:
    """All records of a kind in the order of lookup, shadowed ones too; third parties are imported last."""
    with _lock:
        winners, others = _ranked()
        found = [record for plugin in winners for record in _records(plugin, kind)]
    yield from found
    with _lock:
        found = [record for plugin in others for record in _records(plugin, kind)]
    yield from found


def settle(matching: Iterable[R], *, asked: str) -> R | None:
    """The first of these records, given in the order of lookup; None when there is none.

    Raises PluginConflictError when it is of a plugin that is neither preferred nor first-party, and so is another.
    """
    claims: dict[Plugin, R] = {}
    for record in matching:
        with _lock:
            plugin = _owner(record)
            if plugin in _ranked()[0]:
                return record
        claims.setdefault(plugin, record)
    found: R | None = _sole(list(claims), claims.__getitem__, asked)
    return found


def _sole(claimants: list[Plugin], record: Callable[[Plugin], Any], asked: str) -> Any:
    if len(claimants) > 1:
        raise PluginConflictError(
            f"{asked} is declared by {len(claimants)} plugins: {', '.join(map(str, claimants))}.",
            hint=f"`registry.prefer({claimants[0].name!r})` settles it, and so does uninstalling one of them.",
        )
    return record(claimants[0]) if claimants else None


def architecture(name: str) -> Architecture:
    """What plugins declare of an architecture; an unknown one has no entries."""
    return Architecture(name, import_module(__name__))


def architecture_of_model_type(model_type: object) -> ConfigSpec | None:
    """The configuration that claims this ``model_type`` of a ``config.json``, if a plugin declares one."""
    found: ConfigSpec | None = find(("model_type", str(model_type)), f"model_type {model_type!r}")
    return found


def card(name: str) -> Card | None:
    """The card of a model, by its name or an alias, if a plugin declares one."""
    found: Card | None = find((Card.__name__, name), f"The model {name!r}")
    return found


def class_named(name: str) -> ClassSpec | None:
    """The record of a class of models, tokenizers or configurations, by the class's name."""
    found: ClassSpec | None = find(("class", name), f"The class {name!r}")
    return found


def model_class_task(cls: type) -> str | None:
    """The task for which a plugin declares this very class; None when none does."""
    reference = f"{cls.__module__}:{cls.__qualname__}"
    found: ModelSpec | None = find(("model class", reference), f"The class {reference}")
    return None if found is None else found.task


def weight_loaders(architecture: str | None = None) -> tuple[WeightLoaderSpec, ...]:
    """The formats that plugins read, those of third parties last: for an architecture and for any, or all."""
    specs = in_order(WeightLoaderSpec)
    return tuple(spec for spec in specs if architecture is None or spec.architecture in ("*", architecture))


def every(kind: Kind[R]) -> list[R]:
    """All records of a kind that win, in the order of lookup; imports every plugin."""
    found: dict[Any, R] = {}
    with _lock:
        for plugin in _enabled():
            for record in _records(plugin, kind):
                found.setdefault((type(record), record.key), record)
    return list(found.values())


def owner(record: Record) -> PluginInfo:
    """The plugin that declared this very record."""
    with _lock:
        return _describe(_owner(record))


def _owner(record: Record) -> Plugin:
    for plugin in _known():
        if any(record is declared for declared in plugin.records):
            return plugin
    raise UnknownPluginError(f"no plugin declared {record!r}.")


def plugins_called(name: str) -> list[Plugin]:
    """The plugins that ``name`` means, disabled ones too; several when it is a distribution's.  Imports none.

    Raises UnknownPluginError.
    """
    with _lock:
        return _named(name, _known())


def records(name: str) -> tuple[Record, ...]:
    """All records of the plugins that ``name`` means, whichever win.

    Raises UnknownPluginError, and the error of a plugin that fails.
    """
    with _lock:
        _insist(name)
        return tuple(record for plugin in plugins_called(name) for record in plugin.records)


def load_class(record: ConfigSpec | LayerSpec | ModelSpec | TokenizerSpec) -> Any:
    """Import the class that a record names; raises PluginLoadError, which names the plugin, when that fails."""
    try:
        return record.cls.load()
    except (Exception, SystemExit) as problem:
        raise PluginLoadError(
            f"{record.cls} of the plugin {owner(record)} failed: {describe_exception(problem)}."
        ) from problem


def failures() -> str:
    """Why something may be missing, for the end of a hint: plugins that failed or are disabled; empty when none is."""
    with _lock:
        known = _known()
        failed = [f"\n{plugin.error.message}" for plugin in known if plugin.error]
        disabled = [f"{plugin} ({reason})" for plugin in known if (reason := _why_disabled(plugin))]
    nothing = "" if known else f"\nNo plugin is installed; `pip install {DISTRIBUTION}` brings the first ones."
    return "".join(failed) + (f"\nDisabled plugins: {', '.join(disabled)}." if disabled else "") + nothing


def announced() -> list[PluginInfo]:
    """All plugins as far as they are known without asking them; imports none."""
    with _lock:
        return [_describe(plugin) for plugin in _known()]


def plugins() -> list[PluginInfo]:
    """All plugins in the order of lookup, disabled ones last; imports every plugin that is not disabled."""
    winners: dict[Any, Plugin] = {}
    infos = []
    with _lock:
        for plugin in _enabled():
            with suppress(CardFileError):  # it is told below
                _ask(plugin)
            shadowed = {}
            for record in plugin.records:
                winner = winners.setdefault((type(record), record.key), plugin)
                if winner is not plugin:
                    shadowed[f"{type(record).__name__} {'/'.join(record.key)}"] = winner.name
            infos.append(_describe(plugin, shadowed))
        return infos + [_describe(plugin) for plugin in _known() if _why_disabled(plugin)]


# --- Settings ---------------------------------------------------------------------------------------------------------


def register(plugin: object, name: str | None = None) -> None:
    """Add a plugin to this process: any module or object with marked hooks, under ``name`` or its own.

    It ranks with third-party plugins; ``prefer`` lifts it.  Raises PluginError, and adds nothing, when it breaks the
    contract or when another plugin is registered under the name.  To register the same object again changes nothing.
    """
    name = name or str(getattr(plugin, "__name__", type(plugin).__name__))
    with _lock:
        for other in _registered:
            if other.name == name:
                if other.obtain() is plugin:
                    return
                raise PluginConflictError(
                    f"another plugin is registered as {name!r}.",
                    hint=f"Give this one a name: register(plugin, {name + '-2'!r}).",
                )
        new = Plugin(name, distribution=None, version=None, first_party=False, obtain=lambda: plugin)
        new.load()
        if new.error:
            raise new.error
        _registered.append(new)
        _file_of_cards.cache_clear()


def unregister(name: str) -> None:
    """Take back ``register``; what was made with the plugin stays valid.  Raises UnknownPluginError."""
    with _lock:
        for plugin in _named(name, _registered):
            _registered.remove(plugin)
        _file_of_cards.cache_clear()


def prefer(*names: str) -> None:
    """Let these plugins win every name that they declare, the first before the second; replaces earlier preferences.

    Raises UnknownPluginError, and the error of a plugin that fails.
    """
    with _lock:
        for name in names:
            _insist(name)
        _preferred[:] = names


@contextmanager
def only(*names: str) -> Iterator[None]:
    """Narrow lookup to these plugins while the ``with`` block runs, for all threads.

    Raises UnknownPluginError, and the error of a plugin that fails.
    """
    with _lock:
        for name in names:
            _insist(name)
        _narrowed.append(names)
    try:
        yield
    finally:
        with _lock:
            _narrowed.remove(names)
            _file_of_cards.cache_clear()  # what it adds to may not have been seen


def refresh() -> None:
    """Look for installed plugins anew when next asked; registered plugins and preferences stay."""
    with _lock:
        invalidate_caches()
        installed_plugins.cache_clear()
        _file_of_cards.cache_clear()


# --- Order ------------------------------------------------------------------------------------------------------------


def _known() -> list[Plugin]:
    return [*_files_of_cards(), *installed_plugins(), *_registered]


def _files_of_cards() -> list[Plugin]:
    """The file that ``REGISTRY_CARDS`` names, as a plugin that declares cards."""
    path = os.environ.get("REGISTRY_CARDS")
    return [_file_of_cards(path)] if path else []


@cache
def _file_of_cards(name: str) -> Plugin:
    path = Path(os.path.expanduser(name))  # noqa: PTH111  # Path.expanduser raises where there is no home

    @hookimpl
    def registry_cards() -> Iterator[Card]:
        from registry.discovery.overlay import read_cards  # most processes read no such file

        return read_cards(path, ours=_first_partys, declared=_declared)

    return Plugin(
        path.name,
        distribution=None,
        version=None,
        first_party=False,
        obtain=lambda: SimpleNamespace(registry_cards=registry_cards),
        undistributed="named by REGISTRY_CARDS",
    )


def _first_partys(name: str) -> Card | None:
    """The card of this name which a first-party plugin declares."""
    cards = (card for plugin in _enabled() if plugin.first_party for card in _records(plugin, Card))
    return next((card for card in cards if name in (card.name, *card.aliases)), None)


def _declared(name: str) -> Card | None:
    """The card of this name which a plugin declares; the file itself, which is being read, has no records yet."""
    return card(name)


def _enabled() -> list[Plugin]:
    winners, others = _ranked()
    return winners + others


def _ranked() -> tuple[list[Plugin], list[Plugin]]:
    """Enabled plugins, in the order of lookup: those whose names win, and those that may conflict."""
    enabled = [plugin for plugin in _known() if not _why_disabled(plugin)]
    preferred = [plugin for name in _preferred for plugin in enabled if plugin.is_called(name)]
    ours = [plugin for plugin in enabled if plugin in _files_of_cards() or plugin.first_party]
    winners = list(dict.fromkeys(preferred + ours))
    return winners, [plugin for plugin in enabled if plugin not in winners]


def _why_disabled(plugin: Plugin) -> str | None:
    if any(not _called_one_of(names, plugin) for names in _narrowed):
        return "left out by only()"
    if plugin.distribution is None:
        return None
    allowed, refused = names_in("REGISTRY_PLUGINS"), names_in("REGISTRY_DISABLE_PLUGINS")
    if allowed is not None and not _called_one_of(allowed, plugin):
        return "not among REGISTRY_PLUGINS"
    return "named by REGISTRY_DISABLE_PLUGINS" if _called_one_of(refused or (), plugin) else None


def _called_one_of(names: Iterable[str], plugin: Plugin) -> bool:
    return any(plugin.is_called(name) for name in names)


def _named(name: str, among: Iterable[Plugin]) -> list[Plugin]:
    """The plugins that ``name`` means; several when it is a distribution's."""
    among = list(among)
    found = [plugin for plugin in among if plugin.is_called(name)]
    if not found:
        known = [plugin.name for plugin in among]
        raise UnknownPluginError(
            f"no plugin is called {name!r}.{did_you_mean(name, known)}",
            hint=f"`registry plugins` lists them: {', '.join(known) or 'none'}.",
        )
    return found


# --- Asking -----------------------------------------------------------------------------------------------------------


def _records(plugin: Plugin, kind: Kind[R]) -> Iterator[R]:
    _ask(plugin)
    return plugin.of_kind(kind)


def _insist(name: str) -> None:
    """Load the plugins that the caller names; their errors are raised, since he asked for them."""
    for plugin in _named(name, _known()):
        plugin.load()
        if plugin.error:
            raise plugin.error


def _ask(plugin: Plugin) -> None:
    """Load a plugin that has not been asked yet; warn when it fails, or raise when the user wants it strict."""
    news = plugin.state == "found"
    plugin.load()
    strict = os.environ.get("REGISTRY_STRICT", "") not in ("", "0")
    if plugin.error and (strict or isinstance(plugin.error, CardFileError)):
        raise plugin.error
    if plugin.error and news:
        warnings.warn(f"{plugin.error.message} `registry plugins` says more.", PluginWarning, stacklevel=2)


# --- Telling ----------------------------------------------------------------------------------------------------------


def _describe(plugin: Plugin, shadowed: Mapping[str, str] | None = None) -> PluginInfo:
    disabled = _why_disabled(plugin)
    declares: dict[str, tuple[str, ...]] = {}
    for hook, kind in RECORD_TYPES.items():
        if names := tuple("/".join(record.key) for record in plugin.records if isinstance(record, kind)):
            declares[hook.removeprefix(f"{PROJECT}_")] = names
    return PluginInfo(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        state="disabled" if disabled else plugin.state,
        first_party=plugin.first_party,
        declares=declares,
        shadowed=shadowed or {},
        import_seconds=plugin.import_seconds,
        error=disabled or (str(plugin.error) if plugin.error else None),
    )
