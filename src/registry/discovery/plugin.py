"""One plugin: imported, checked, and asked for its records, all or nothing.

A plugin is code with its user's rights; what is kept apart here are accidents, not malice.  Nothing can be done about
an import that never returns or ends the process (``os._exit``), nor about one that changes the state of others
(``torch.set_default_dtype``, ``os.environ``, ``sys.path``): hence no plugin is imported before it is needed.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any, Literal, TypeAlias, TypeVar

import pluggy
from attrs import define

from registry.errors import CardFileError, PluginError, PluginIncompatibleError, PluginLoadError, did_you_mean
from registry.hookspecs import PROJECT, RECORD_TYPES, RegistrySpecs
from registry.namespace import import_plugin_module
from registry.records import Card, ConfigSpec, ModelSpec, Record, TokenizerSpec

MOST_RECORDS = 100_000
"""No plugin declares more; a hook that yields more does not end."""

R = TypeVar("R", bound=Record)
Kind: TypeAlias = type[R] | tuple[type[R], ...]
"""The type of a record, or several."""

ClassSpec: TypeAlias = ModelSpec | TokenizerSpec | ConfigSpec
"""A record of a class which ``registry.zoo`` has."""


@define(eq=False)
class Plugin:
    """A plugin: who declares it, how to get hold of it, and what came of asking it."""

    name: str
    distribution: str | None
    """The distribution whose metadata announce it; None when it was registered at run time."""
    version: str | None
    first_party: bool
    obtain: Callable[[], object]
    """Returns the module or object with the hooks, importing it where need be."""
    state: Literal["found", "loading", "loaded", "failed"] = "found"
    records: tuple[Record, ...] = ()
    index: Mapping[tuple[str, ...], Record] = {}
    """The records by ``keys_of``; of several with one key, the first."""
    error: PluginError | None = None
    import_seconds: float = 0.0
    undistributed: str = "registered at run time"
    """Where it comes from when it is of no distribution."""

    @property
    def origin(self) -> str:
        """Where it comes from: the distribution and its version."""
        return self.undistributed if self.distribution is None else f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.name!r} ({self.origin})"

    def is_called(self, name: str) -> bool:
        """Whether ``name`` means this plugin: its own name or its distribution's, however spelled."""
        return normal(name) in {normal(own) for own in (self.name, self.distribution) if own}

    def load(self) -> None:
        """Ask the plugin for its records, once; whatever goes wrong stands in ``error`` afterwards.

        A plugin that looks something up while it is imported finds itself without records.
        """
        if self.state != "found":
            return
        self.state = "loading"
        start = perf_counter()
        try:
            self.records = harvest(self.obtain())
            self.index = {key: record for record in reversed(self.records) for key in keys_of(record)}
            self.state = "loaded"
        except CardFileError as problem:
            self.state, self.error = "failed", problem
        except PluginIncompatibleError as problem:
            broken = f"The plugin {self} breaks the contract: {problem.message}"
            self._fail(PluginIncompatibleError(broken, hint=problem.hint), problem)
        except KeyboardInterrupt:
            raise
        except BaseException as problem:  # noqa: BLE001  # a stranger's mistake, whatever it is, stays his own
            self._fail(PluginLoadError(f"The plugin {self} failed: {describe_exception(problem)}."), problem)
        finally:
            self.import_seconds = perf_counter() - start
            if self.state == "loading":  # interrupted from the keyboard: as if it had never been asked
                self.state = "found"

    def _fail(self, error: PluginError, cause: BaseException) -> None:
        error.__cause__ = cause
        self.state, self.error = "failed", error

    def of_kind(self, kind: Kind[R]) -> Iterator[R]:
        """Its records of one kind, in the order in which they were declared."""
        return (record for record in self.records if isinstance(record, kind))


def keys_of(record: Record) -> Iterator[tuple[str, ...]]:
    """All keys under which a record is looked up, such as ``("Card", "gpt2")`` or ``("model_type", "gpt2")``."""
    yield (type(record).__name__, *record.key)
    if isinstance(record, Card):
        yield from ((Card.__name__, alias) for alias in record.aliases)
    if isinstance(record, ConfigSpec):
        yield from (("model_type", word) for word in record.model_types)
    if isinstance(record, ModelSpec):
        yield "class of", record.architecture, record.cls.name
        yield "model class", str(record.cls)
    if isinstance(record, ClassSpec):
        yield "class", record.cls.name


def normal(name: str) -> str:
    """A name as the packaging specifications compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe_exception(problem: BaseException) -> str:
    """An exception in one line: its type and its first line."""
    first_line = (str(problem).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(problem).__name__}: {first_line}" if first_line else type(problem).__name__


def import_entry_point(target: str) -> object:
    """Import what an entry point names."""
    module, path = module_and_path(target)
    found: object = import_plugin_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def module_and_path(target: str) -> tuple[str, str]:
    """The parts of an entry point: ``module``, or ``module:object``; extras after them mean nothing here."""
    module, _, path = target.partition("[")[0].partition(":")
    return module.strip(), path.strip()


def harvest(plugin: object) -> tuple[Record, ...]:
    """Ask a plugin every question, in a manager of its own: when it fails, there is nothing to undo.

    Raises PluginIncompatibleError for an unknown or unmarked hook, a wrong signature, a record of the wrong type, and a
    record that is declared twice; other exceptions are the plugin's own.
    """
    manager = _Manager()
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as problem:
        raise PluginIncompatibleError(f"{problem}.", hint="Hooks take no arguments.") from problem
    records: dict[Any, Record] = {}
    for hook in RECORD_TYPES:
        for record in _answers(manager, hook):
            key = (hook, record.key)
            if len(records) >= MOST_RECORDS:
                raise PluginIncompatibleError(f"{hook} declares more than {MOST_RECORDS:,} records: does it ever end?")
            if key in records:
                raise PluginIncompatibleError(f"{hook} declares {' / '.join(record.key)!r} twice.")
            records[key] = record
    return tuple(records.values())


def _answers(manager: "_Manager", hook: str) -> Iterator[Record]:
    kind: Any = RECORD_TYPES[hook]
    wanted = f"{hook} must yield records of the type {kind.__name__}"
    for answer in getattr(manager.hook, hook)():
        if not isinstance(answer, Iterable):
            raise PluginIncompatibleError(f"{wanted}, but returned {answer!r}.", hint="Write `yield` for `return`.")
        for record in answer:
            if not isinstance(record, kind):
                raise PluginIncompatibleError(f"{wanted}, but yielded {record!r}.")
            yield record


class _Specs:
    """The six questions and no other attribute: pluggy looks at each, and a manager is made for each plugin."""

    def __init__(self) -> None:
        vars(self).update({hook: getattr(RegistrySpecs, hook) for hook in RECORD_TYPES})

    def __dir__(self) -> Iterable[str]:
        return RECORD_TYPES


_SPECS = _Specs()


class _Manager(pluggy.PluginManager):
    """Looks only at what is named ``registry_*``; touching other attributes could import or compute things."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(_SPECS)  # type: ignore[arg-type]  # any object with these attributes will do

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Decide whether ``name`` is a hook, refusing what was meant as one and would be passed over in silence."""
        if not name.startswith(f"{PROJECT}_"):
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and not inspect.isroutine(getattr(plugin, name)):
            return None
        if name not in RECORD_TYPES:
            raise PluginIncompatibleError(
                f"{name} is no hook.{did_you_mean(name, RECORD_TYPES)}",
                hint=f"The hooks are {', '.join(RECORD_TYPES)}.",
            )
        if options is None:
            raise PluginIncompatibleError(f"{name} is not marked as a hook.", hint="Put @registry.hookimpl above it.")
        return options
