"""The registry of plugins: which one declares a model, a class, an architecture.

Plugins are announced by installed distributions under the entry-point group ``registry.v1``.  Distributions are scanned
once per process, at the first lookup; a plugin is imported when it is first needed.  The first plugin that declares a
name wins:

1. plugins that ``prefer`` names,
2. first-party plugins: those of the distribution that ships this package,
3. all others, which are imported only now; two of them with one name are an error when that name is used.

A site's card files (``REGISTRY_CARDS``) may declare new models, which come after preferred plugins and before all
others, and add mirrors and digests to whichever card wins; see ``overlay``.

Environment: ``REGISTRY_PLUGINS`` (only these; empty for none) and ``REGISTRY_DISABLE_PLUGINS`` (all but these) list
plugins or distributions; those excluded are never imported.  With ``REGISTRY_STRICT=1``, a plugin that fails is an
error instead of a warning.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.discovery.architectures import Architecture
from registry.discovery.entry_points import DISTRIBUTION
from registry.discovery.loader import PluginLoader
from registry.discovery.order import named
from registry.discovery.plugin import ClassSpec, Plugin, PluginInfo, R, describe, describe_exception, names_of
from registry.errors import CardFileError, PluginLoadError, warn
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, Record, TokenizerSpec, WeightLoaderSpec

if TYPE_CHECKING:
    from registry.discovery.card_file import CardEntry
    from registry.discovery.overlay import Overlay

NO_METADATA = (
    f"No plugin is announced, not even those of this library: the metadata of the distribution {DISTRIBUTION}, which "
    f"announce them, are missing. `pip install {DISTRIBUTION}` brings them; a frozen or vendored application must take "
    f"them along (PyInstaller: --copy-metadata {DISTRIBUTION}), or call registry.register with the plugins' modules."
)


class Discovery(PluginLoader):
    """The plugins of a process, what they declare, and whose records win.  May be used from many threads."""

    # --- What plugins declare

    def architecture(self, name: str) -> Architecture:
        """What plugins declare of an architecture; an unknown one has no entries."""
        return Architecture(name, self)

    def architecture_of_model_type(self, model_type: object) -> ConfigSpec | None:
        """The configuration that claims this ``model_type`` of a ``config.json``.  Raises PluginConflictError."""
        if not isinstance(model_type, str):
            return None
        found: ConfigSpec | None = self.find(("model_type", model_type), f"model_type {model_type!r}")
        return found

    def class_named(self, name: str) -> ClassSpec | None:
        """The record of a class of models, tokenizers or configurations, by the class's name.

        Raises PluginConflictError.
        """
        found: ClassSpec | None = self.find(("class", name), f"The class {name!r}")
        return found

    def model_class_task(self, cls: type) -> str | None:
        """The task for which a plugin declares this very class; None when none does."""
        reference = f"{cls.__module__}:{cls.__qualname__}"
        found: ModelSpec | None = self.find(("model class", reference), f"The class {reference}")
        return None if found is None else found.task

    def weight_loaders(self, architecture: str | None = None) -> tuple[WeightLoaderSpec, ...]:
        """The formats that plugins read, those of third parties last: for an architecture and for any, or all."""
        specs = self.in_order(WeightLoaderSpec)
        return tuple(spec for spec in specs if architecture is None or spec.architecture in ("*", architecture))

    def own_weight_loader(self, architecture: str, format: str) -> WeightLoaderSpec | None:
        """The record of a format by a preferred plugin, or by the plugin that declares the architecture; imports none.

        Raises PluginConflictError.
        """
        key = ("weights", architecture, format)
        config = self.find(("config", architecture), f"The architecture {architecture!r}")
        if config is None:
            return None
        with self._lock:
            preferred: WeightLoaderSpec | None = self._first(self._ranks().preferred, key)
            own: Any = self._declarer(config).index.get(key)
        return preferred or own

    def card(self, name: str) -> Card | None:
        """The card of a model, by its name or an alias, with what the site's card files add to it.

        Raises:
            PluginConflictError: Two plugins declare the name, and neither is preferred.
            CardFileError: A card file cannot be read, or its entry of this model is wrong.
        """
        key, asked = ("card", name), f"The model {name!r}"
        with self._lock:
            overlay = self._overlay()
            if overlay is None:
                return self.find(key, asked)  # type: ignore[no-any-return]
            found = self._first(self._ranks().preferred, key) or self._of_site(overlay, name) or self.find(key, asked)
            if found is None:
                _warn_of_unused(entry.checked() for entry in overlay.entries if entry.name == name)
            return None if found is None else overlay.apply(found)

    def every(self, kind: type[R]) -> list[R]:
        """All records of a kind that win, in the order of lookup; imports every plugin.

        Raises CardFileError, for cards, when any entry of the site's card files is wrong.
        """
        with self._lock:
            found: dict[Any, Any] = {}
            for record in self._every_card() if kind is Card else self.in_order(kind):
                found.setdefault(record.key, record)
            return list(found.values())

    def load_class(self, record: ConfigSpec | LayerSpec | ModelSpec | TokenizerSpec) -> Any:
        """Import the class that a record names; raises PluginLoadError, which names the plugin, when that fails."""
        try:
            return record.cls.load()
        except (Exception, SystemExit) as problem:
            raise PluginLoadError(
                f"{record.cls} of the plugin {self.owner(record)} failed: {describe_exception(problem)}."
            ) from problem

    # --- What is known of plugins

    def owner(self, record: Record) -> PluginInfo:
        """The plugin, or the card file, that declared this very record.  Raises UnknownPluginError."""
        with self._lock:
            overlay = self._overlay() if isinstance(record, Card) else None
            if overlay is not None and isinstance(record, Card):
                record = overlay.origin(record)
                if (path := overlay.declaring(record)) is not None:
                    return self._describe_card_files((path,))[0]
            plugin = self._declarer(record)
            return describe(plugin, self._ranks().disabled.get(plugin))

    def plugins_called(self, name: str) -> list[Plugin]:
        """The plugins that ``name`` means, disabled ones too; several when it is a distribution's.  Imports none.

        Raises UnknownPluginError.
        """
        with self._lock:
            return named(name, self._known())

    def records(self, name: str) -> tuple[Record, ...]:
        """All records of the plugins that ``name`` means, whichever win.

        Raises UnknownPluginError, and the error of a plugin that fails.
        """
        with self._lock:
            return tuple(record for plugin in self._load_or_raise(name) for record in plugin.records)

    def call_hooks_again(self, plugin: Plugin) -> tuple[Record, ...]:
        """The records of a loaded plugin, from a second call of its hooks; they are not kept."""
        with self._lock:
            return self._hooks.records_of(plugin.obtain())

    def failures(self) -> str:
        """Why something may be missing, for the end of a hint: plugins that failed or are disabled; else empty."""
        with self._lock:
            known, disabled = self._known(), self._ranks().disabled
        failed = [f"\n{plugin.error.message}" for plugin in known if plugin.error]
        off = ", ".join(f"{plugin} ({reason})" for plugin, reason in disabled.items())
        nothing = "" if known else f"\n{NO_METADATA}"
        return "".join(failed) + (f"\nDisabled plugins: {off}." if off else "") + nothing

    def announced(self) -> list[PluginInfo]:
        """All plugins as their distributions announce them; imports none."""
        with self._lock:
            disabled = self._ranks().disabled
            return [describe(plugin, disabled.get(plugin)) for plugin in self._known()]

    def plugins(self) -> list[PluginInfo]:
        """A site's card files, then all plugins in the order of lookup, disabled ones last.

        Imports every plugin that is not disabled.
        """
        with self._lock:
            ranks = self._ranks()
            for plugin in ranks.enabled:
                self._load_or_warn(plugin)
            files = self._describe_card_files()
            winners: dict[object, Plugin | CardEntry] = {}
            found = [describe(plugin, None, _shadowed(plugin, winners)) for plugin in ranks.preferred]
            for entry in self._new_entries():
                winners.setdefault((Card, (entry.name,)), entry)
            others = ranks.first_party + ranks.third_party
            found += [describe(plugin, None, _shadowed(plugin, winners)) for plugin in others]
            return files + found + [describe(plugin, reason) for plugin, reason in ranks.disabled.items()]

    # --- inside: a site's card files

    def _overlay(self) -> "Overlay | None":
        """The card files as they are now; None when the site has none, as most: then no TOML reader is imported."""
        if not os.environ.get("REGISTRY_CARDS"):
            return None
        from registry.discovery.overlay import card_files, read_overlay

        return read_overlay(card_files(), self._reserved())

    def _reserved(self) -> frozenset[tuple[str, str]]:
        """Names and aliases of first-party cards, each with the name of its card."""
        ours = self._of_kind([plugin for plugin in self._ranks().enabled if plugin.first_party], Card)
        return frozenset((name, card.name) for card in ours for name in names_of(card))

    def _of_site(self, overlay: "Overlay", name: str) -> Card | None:
        """The card to which a card file gives this name: a new one, or one of a plugin by another alias."""
        entry = overlay.giving(name)
        if entry is None or entry.card is None:
            return None if entry is None else self.find(("card", entry.name), f"The model {entry.name!r}")
        return None if self._order.narrowed else entry.card

    def _new_entries(self) -> "list[CardEntry]":
        """The entries of card files that declare new models; none while ``only`` is in force, or a file is wrong."""
        try:
            overlay = None if self._order.narrowed else self._overlay()
        except CardFileError:
            return []
        return [] if overlay is None else [entry for entry in overlay.entries if entry.card and not entry.error]

    def _every_card(self) -> Iterator[Card]:
        """The cards that win, in the order of lookup, with what card files add to them."""
        overlay = self._overlay()
        if overlay is None:
            yield from self.in_order(Card)
            return
        for entry in overlay.entries:
            entry.checked()
        ranks = self._ranks()
        cards = self._of_kind(ranks.preferred, Card)
        cards += [entry.card for entry in self._new_entries() if entry.card is not None]
        cards += self._of_kind(ranks.first_party + ranks.third_party, Card)
        known = {name for card in cards for name in names_of(card)}
        _warn_of_unused(entry for entry in overlay.entries if entry.card is None and entry.name not in known)
        winning = {card.name: card for card in reversed(cards)}
        for card in cards:
            if winning[card.name] is card:  # what is added to a shadowed card need not fit it
                yield overlay.apply(card)

    def _describe_card_files(self, paths: Sequence[Path] | None = None) -> list[PluginInfo]:
        """The card files as they are listed, each with all that is wrong with it."""
        if not os.environ.get("REGISTRY_CARDS"):
            return []
        from registry.discovery.overlay import card_files, describe_card_files

        cards = {name: card for card in self._of_kind(self._ranks().enabled[::-1], Card) for name in names_of(card)}
        return describe_card_files(paths or card_files(), self._reserved(), cards)


def _shadowed(plugin: Plugin, winners: "dict[object, Plugin | CardEntry]") -> dict[str, str]:
    """Those of a plugin's names which one of the ``winners`` before it has; the others are added to them."""
    found = {}
    for record in plugin.records:
        winner = winners.setdefault((type(record), record.key), plugin)
        if winner is not plugin:
            name = winner.name if isinstance(winner, Plugin) else winner.key.path.name
            found[f"{type(record).__name__} {'/'.join(record.key)}"] = name
    return found


def _warn_of_unused(entries: "Iterable[CardEntry]") -> None:
    for entry in entries:
        warn(
            f"{entry.key.path} adds to {entry.name!r}, which no installed plugin declares; a new model needs an "
            "`architecture`."
        )
