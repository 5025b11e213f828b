"""Loads plugins one at a time, isolates broken ones, and finds their records in the order of lookup."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import invalidate_caches
from typing import Any

from registry.discovery.entry_points import PluginWarning, installed_plugins
from registry.discovery.fork import ForkableLock
from registry.discovery.hooks import HookManager
from registry.discovery.order import Order, Ranks, named
from registry.discovery.plugin import Key, Plugin, R
from registry.errors import PluginConflictError, UnknownPluginError, warn
from registry.records import Record


class PluginLoader:
    """The plugins of a process, installed and registered ones, the settings that rank them, and their records."""

    def __init__(self) -> None:
        self._lock = ForkableLock(self._after_fork)
        self._hooks = HookManager()
        self._order = Order()
        self._installed: tuple[Plugin, ...] | None = None

    # --- Settings

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin to this process; it ranks with third-party plugins, and ``prefer`` lifts it.

        To register the same object again under the same name changes nothing.

        Args:
            plugin: Any module or object with marked hooks.
            name: The name under which it is listed; its own ``__name__``, or its type's, when None.

        Raises:
            PluginError: It breaks the contract, or another plugin is registered under the name; nothing is added.
        """
        name = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        with self._lock:
            for other in self._order.registered:
                if other.name == name:
                    if other.registered is plugin:
                        return
                    raise PluginConflictError(
                        f"another plugin is registered as {name!r}.",
                        hint=f"Give this one a name: register(plugin, {name + '-2'!r}).",
                    )
            new = Plugin(name, registered=plugin)
            new.load(self._hooks)
            if new.error:
                raise new.error
            self._order = self._order._replace(registered=(*self._order.registered, new))

    def unregister(self, name: str) -> None:
        """Undo ``register``; objects of the plugin stay valid.  Raises UnknownPluginError."""
        with self._lock:
            gone = named(name, self._order.registered)
            kept = tuple(plugin for plugin in self._order.registered if plugin not in gone)
            self._apply(self._order._replace(registered=kept))

    def prefer(self, *names: str) -> None:
        """Let these plugins win every name that they declare, the first before the second; replaces earlier calls.

        Args:
            names: Names of plugins or of distributions; none to prefer no plugin again.

        Raises:
            UnknownPluginError: No plugin has the name.
            PluginError: A plugin that is named fails.
        """
        with self._lock:
            for name in names:
                self._load_or_raise(name)
            self._order = self._order._replace(preferred=names)

    @contextmanager
    def only(self, *names: str) -> Iterator[None]:
        """Narrow lookup to these plugins while the ``with`` block runs, for all threads.

        What a site's card files add to their cards still applies; the new cards of those files are dropped.

        Raises:
            UnknownPluginError: No plugin has the name.
            PluginError: A plugin that is named fails.
        """
        with self._lock:
            for name in names:
                self._load_or_raise(name)
            self._order = self._order._replace(narrowed=(*self._order.narrowed, names))
        try:
            yield
        finally:
            with self._lock:
                narrowed = list(self._order.narrowed)
                narrowed.remove(names)
                self._order = self._order._replace(narrowed=tuple(narrowed))

    def refresh(self) -> None:
        """Look for installed plugins again when they are next needed; registered plugins and preferences stay."""
        with self._lock:
            invalidate_caches()
            for plugin in self._installed or ():
                self._hooks.discard(str(plugin))
            self._installed = None

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undo at the end of the ``with`` block what it registers, prefers and narrows; look for plugins again."""
        with self._lock:
            before = self._order
        try:
            yield
        finally:
            with self._lock:
                self._apply(before)
                self.refresh()

    # --- Records

    def find(self, key: Key, asked: str) -> Any:
        """The record of a plugin that ``keys_of`` gives this key; None when none declares one.

        ``asked`` names the record in messages.  Raises PluginConflictError when two plugins that are neither
        preferred nor first-party declare it.
        """
        with self._lock:
            ranks = self._ranks()
            found = self._first(ranks.winners, key)
            if found is not None:
                return found
            for plugin in ranks.third_party:
                self._load_or_warn(plugin)
            claimants = [plugin for plugin in ranks.third_party if key in plugin.index]
        _refuse_conflict(claimants, asked)
        return claimants[0].index[key] if claimants else None

    def in_order(self, kind: type[R]) -> Iterator[R]:
        """All records of a kind in the order of lookup, shadowed ones too; third parties are imported last."""
        with self._lock:
            ranks = self._ranks()
            found = self._of_kind(ranks.winners, kind)
        yield from found
        with self._lock:
            found = self._of_kind(ranks.third_party, kind)
        yield from found

    def settle(self, matching: Iterable[R], *, asked: str) -> R | None:
        """The first of records that are given in the order of lookup; None when there is none.

        Raises PluginConflictError when it is of a plugin that is neither preferred nor first-party, and so is another.
        """
        claims: dict[Plugin, R] = {}
        for record in matching:
            with self._lock:
                plugin = self._declarer(record)
                if plugin in self._ranks().winners:
                    return record
            claims.setdefault(plugin, record)
        _refuse_conflict(list(claims), asked)
        return next(iter(claims.values()), None)

    # --- inside

    def _after_fork(self) -> None:
        """Have plugins that a thread of the parent was loading loaded again: that thread is not in this process."""
        for plugin in (*(self._installed or ()), *self._order.registered):
            plugin.interrupt()

    def _known(self) -> tuple[Plugin, ...]:
        if self._installed is None:
            self._installed = installed_plugins()
        return self._installed + self._order.registered

    def _ranks(self) -> Ranks:
        return self._order.ranks(self._known())

    def _apply(self, order: Order) -> None:
        """Put other settings in force, and have pluggy's manager hold just their plugins."""
        for plugin in self._order.registered:
            if plugin not in order.registered:
                self._hooks.discard(str(plugin))
        for plugin in order.registered:
            if not self._hooks.has_plugin(str(plugin)):
                self._hooks.register(plugin.registered, str(plugin))
        self._order = order

    def _load_or_raise(self, name: str) -> list[Plugin]:
        """The plugins that ``name`` means, loaded; who names a plugin gets its error."""
        found = named(name, self._known())
        for plugin in found:
            plugin.load(self._hooks)
            if plugin.error:
                raise plugin.error.with_traceback(None)
        return found

    def _load_or_warn(self, plugin: Plugin) -> Plugin:
        """The plugin, loaded; a failure is a warning the first time, or an error with ``REGISTRY_STRICT=1``."""
        first_time = plugin.state == "found"
        plugin.load(self._hooks)
        if plugin.error and os.environ.get("REGISTRY_STRICT", "") not in ("", "0"):
            raise plugin.error.with_traceback(None)
        if plugin.error and first_time:
            warn(f"{plugin.error.message} `registry plugins` says more.", PluginWarning)
        return plugin

    def _of_kind(self, plugins: Iterable[Plugin], kind: type[R]) -> list[R]:
        return [
            record for plugin in plugins for record in self._load_or_warn(plugin).records if isinstance(record, kind)
        ]

    def _first(self, plugins: Iterable[Plugin], key: Key) -> Any:
        return next((plugin.index[key] for plugin in plugins if key in self._load_or_warn(plugin).index), None)

    def _declarer(self, record: Record) -> Plugin:
        for plugin in self._known():
            if any(record is declared for declared in plugin.records):
                return plugin
        raise UnknownPluginError(f"no plugin declared {record!r}.")


def _refuse_conflict(claimants: Sequence[Plugin], asked: str) -> None:
    """Raise PluginConflictError for more than one plugin."""
    if len(claimants) > 1:
        raise PluginConflictError(
            f"{asked} is declared by {len(claimants)} plugins: {', '.join(map(str, claimants))}.",
            hint=f"`registry.prefer({claimants[0].name!r})` settles it, and so does uninstalling one of them.",
        )
