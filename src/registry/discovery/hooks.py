"""The pluggy manager: plugins are registered and their records collected one at a time, all or nothing."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import pluggy

from registry.errors import PluginIncompatibleError, did_you_mean
from registry.hookspecs import PROJECT, RECORD_TYPES, RegistrySpecs
from registry.records import CORE_FORMATS, Record, WeightLoaderSpec

MOST_RECORDS = 100_000
"""No plugin declares more; a hook that yields more does not end."""


class HookManager(pluggy.PluginManager):
    """The plugins whose records were accepted; one that fails is unregistered and leaves nothing behind.

    Only attributes named ``registry_*`` are looked at: touching others could import or compute things.
    """

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(RegistrySpecs)

    def collect(self, plugin: object, name: str) -> tuple[Record, ...]:
        """Register a plugin and call its hooks alone.

        Returns:
            Its records, in the order of the hooks.

        Raises:
            PluginIncompatibleError: A hook is unknown, not marked or takes arguments, yields a record of another type
                or one record twice, or the same object is a plugin already.  All else is the plugin's own.
        """
        self.discard(name)  # of a plugin that was being imported when discovery was refreshed
        try:
            self._register(plugin, name)
            return self.records_of(plugin)
        except BaseException:
            self.discard(name)
            raise

    def records_of(self, plugin: object) -> tuple[Record, ...]:
        """The records of a registered plugin, whose hooks are called again.  Raises as ``collect`` does."""
        records: dict[Any, Record] = {}
        for hook in RECORD_TYPES:
            for record in self._yielded(plugin, hook):
                key = (hook, record.key)
                if len(records) >= MOST_RECORDS:
                    raise PluginIncompatibleError(f"{hook} declares more than {MOST_RECORDS:,} records.")
                if key in records:
                    raise PluginIncompatibleError(f"{hook} declares {' / '.join(record.key)!r} twice.")
                if isinstance(record, WeightLoaderSpec):
                    _refuse_core_format(record)
                records[key] = record
        return tuple(records.values())

    def discard(self, name: str) -> None:
        """Unregister the plugin of this name, if there is one."""
        if self.has_plugin(name):
            self.unregister(name=name)

    def _register(self, plugin: object, name: str) -> None:
        try:
            self.register(plugin, name)
        except pluggy.PluginValidationError as problem:
            raise PluginIncompatibleError(f"{problem}.", hint="Hooks take no arguments.") from problem
        except ValueError as problem:
            raise PluginIncompatibleError(
                f"it is registered already, as the plugin {self.get_name(plugin)}."
            ) from problem

    def _yielded(self, plugin: object, hook: str) -> Iterator[Record]:
        kind: Any = RECORD_TYPES[hook]
        wanted = f"{hook} must yield records of type {kind.__name__}"
        implementations = reversed(getattr(self.hook, hook).get_hookimpls())  # that of a new plugin is the last
        own = next((implementation for implementation in implementations if implementation.plugin is plugin), None)
        result = () if own is None else own.function()
        if not isinstance(result, Iterable):
            raise PluginIncompatibleError(
                f"{wanted}, but returned {result!r}.", hint="Use `yield` instead of `return`."
            )
        for record in result:
            if not isinstance(record, kind):
                raise PluginIncompatibleError(f"{wanted}, but yielded {record!r}.")
            yield record

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Decide whether ``name`` is a hook; an attribute that was meant as one and would be ignored is refused."""
        if not name.startswith(f"{PROJECT}_"):
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and not inspect.isroutine(getattr(plugin, name)):
            return None
        if name not in RECORD_TYPES:
            raise PluginIncompatibleError(
                f"{name} is not a hook.{did_you_mean(name, RECORD_TYPES)}",
                hint=f"The hooks are {', '.join(RECORD_TYPES)}.",
            )
        if options is None:
            raise PluginIncompatibleError(f"{name} is not marked as a hook.", hint="Put @registry.hookimpl above it.")
        return options


def _refuse_core_format(record: WeightLoaderSpec) -> None:
    if record.architecture == "*" and record.format in CORE_FORMATS:
        raise PluginIncompatibleError(
            f"registry_weight_loaders declares {record.format!r} for all architectures, a format that the core reads.",
            hint="Name the architecture whose files your loader is to read: WeightLoaderSpec(architecture=...).",
        )
