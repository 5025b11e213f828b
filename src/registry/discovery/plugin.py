"""One plugin: imported, its records collected and indexed.

A plugin is code with its user's rights; what is isolated here are accidents, not malice.  Nothing can be done about an
import that never returns or ends the process (``os._exit``), nor about one that changes the state of others
(``torch.set_default_dtype``, ``os.environ``, ``sys.path``): hence no plugin is imported before it is needed.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from attrs import define

from registry.discovery.hooks import HookManager
from registry.errors import PluginError, PluginIncompatibleError, PluginLoadError
from registry.hookspecs import PROJECT, RECORD_TYPES
from registry.namespace import import_plugin_module
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, Record, TokenizerSpec, WeightLoaderSpec

R = TypeVar("R", bound=Record)

Key: TypeAlias = tuple[str, ...]
"""What records are looked up by, such as ``("card", "gpt2")`` or ``("model", "gpt2", "causal-lm")``."""

LONGEST_CHAIN = 100
"""Causes of an error that are looked at."""

ClassSpec: TypeAlias = ModelSpec | TokenizerSpec | ConfigSpec
"""A record of a class that ``registry.zoo`` has."""


class PluginInfo(NamedTuple):
    """A plugin as it is listed; also a site's card file, which is none."""

    name: str
    """The name of its entry point, or the one that it was registered under."""
    distribution: str | None
    """The distribution that announces it; None when it was registered at run time."""
    version: str | None
    """The version of the distribution."""
    state: str
    """``loaded``, ``failed``, ``disabled``; ``found`` or ``loading`` before its records are collected."""
    first_party: bool
    """Whether the distribution is the one that ships the registry."""
    declares: Mapping[str, tuple[str, ...]]
    """``{"cards": ("my-tiny", ...), "models": ("my-architecture/masked-lm", ...)}``; card files have ``additions``."""
    shadowed: Mapping[str, str]
    """Those of its names which another plugin wins: ``{"Card my-tiny": "other"}``."""
    import_seconds: float
    """Seconds of its import and hooks."""
    error: str | None
    """Why it failed or is disabled."""

    def __str__(self) -> str:
        return self.name if self.distribution is None else f"{self.name} ({self.distribution} {self.version})"


@define(eq=False, repr=False)
class Plugin:
    """A plugin of this process: its distribution, and its records."""

    name: str
    """The name of its entry point, or the one that it was registered under."""
    distribution: str | None = None
    """The distribution whose metadata announce it; None when it was registered at run time."""
    version: str | None = None
    """The version of the distribution."""
    first_party: bool = False
    """Whether the distribution is the one that ships the registry."""
    target: str | None = None
    """What its entry point names: ``module`` or ``module:object``; None when it was registered at run time."""
    registered: object = None
    """The module or object with the hooks, where it was registered at run time."""
    state: Literal["found", "loading", "loaded", "failed"] = "found"
    """How far it has been loaded."""
    records: tuple[Record, ...] = ()
    """What it declares, in the order of the hooks."""
    index: Mapping[Key, Record] = {}
    """The records by ``keys_of``; of several with one key, the first."""
    error: PluginError | None = None
    """Why it failed."""
    import_seconds: float = 0.0
    """Seconds of its import and hooks."""

    @property
    def origin(self) -> str:
        """Where it comes from: the distribution and its version."""
        return "registered at run time" if self.distribution is None else f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.name!r} ({self.origin})"

    def is_called(self, name: str) -> bool:
        """Whether ``name`` means this plugin: its own name or its distribution's, however spelled."""
        return canonicalize_name(name) in {canonicalize_name(own) for own in (self.name, self.distribution) if own}

    def obtain(self) -> object:
        """The module or object with the hooks, imported where need be."""
        return self.registered if self.target is None else import_entry_point(self.target)

    def load(self, hooks: HookManager) -> None:
        """Import the plugin and collect its records, once; an error of any kind stands in ``error`` afterwards.

        A plugin that looks something up while it is imported finds itself without records.
        """
        if self.state != "found":
            return
        self.state = "loading"
        handled = sys.exception()
        start = perf_counter()
        try:
            self.records = hooks.collect(self.obtain(), str(self))
            self.index = {key: record for record in reversed(self.records) for key in keys_of(record)}
            self.state = "loaded"
        except PluginIncompatibleError as problem:
            broken = f"The plugin {self} breaks the contract: {problem.message}"
            self._fail(PluginIncompatibleError(broken, hint=problem.hint), problem)
        except KeyboardInterrupt:
            raise
        except BaseException as problem:  # a third party's mistake, whatever it is, stays its own
            if _is_interrupt(problem, handled):
                raise KeyboardInterrupt from problem
            self._fail(PluginLoadError(f"The plugin {self} failed: {describe_exception(problem)}."), problem)
        finally:
            self.import_seconds = perf_counter() - start
            self.interrupt()  # from the keyboard: as if it had never been loaded

    def interrupt(self) -> None:
        """Have the plugin loaded again the next time, if it is being loaded."""
        if self.state == "loading":
            self.state = "found"

    def _fail(self, error: PluginError, cause: BaseException) -> None:
        error.__cause__ = cause
        self.state, self.error = "failed", error


def _is_interrupt(problem: BaseException, handled: BaseException | None) -> bool:
    """Whether an error is what a ``try`` made of an interrupt from the keyboard, after what is ``handled`` outside."""
    cause: BaseException | None = problem
    for _ in range(LONGEST_CHAIN):
        if cause is None or cause is handled:
            return False
        if isinstance(cause, KeyboardInterrupt):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def keys_of(record: Record) -> Iterator[Key]:
    """All keys under which a record is looked up."""
    match record:
        case Card():
            yield from (("card", name) for name in names_of(record))
        case ConfigSpec():
            yield "config", record.architecture
            yield from (("model_type", word) for word in record.model_types)
            yield "class", record.cls.name
        case ModelSpec():
            yield "model", record.architecture, record.task
            yield "model name", record.architecture, record.cls.name
            yield "model class", str(record.cls)
            yield "class", record.cls.name
        case TokenizerSpec():
            yield "tokenizer", record.architecture
            yield "class", record.cls.name
        case WeightLoaderSpec():
            yield "weights", record.architecture, record.format
        case LayerSpec():
            yield "layer", record.architecture, record.name


def names_of(card: Card) -> tuple[str, ...]:
    """The name of a model, and its aliases."""
    return (card.name, *card.aliases)


def describe(plugin: Plugin, disabled: str | None, shadowed: Mapping[str, str] | None = None) -> PluginInfo:
    """A plugin as it is listed; ``disabled`` is the reason why it is not used."""
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


def canonicalize_name(name: str) -> str:
    """A name as the packaging specifications compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe_exception(problem: BaseException) -> str:
    """An exception in one line: its type and its first line."""
    first_line = (str(problem).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(problem).__name__}: {first_line}" if first_line else type(problem).__name__


def import_entry_point(target: str) -> object:
    """Import the target of an entry point."""
    module, path = module_and_path(target)
    found: object = import_plugin_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def module_and_path(target: str) -> tuple[str, str]:
    """The parts of an entry point: ``module``, or ``module:object``; extras after them mean nothing here."""
    module, _, path = target.partition("[")[0].partition(":")
    return module.strip(), path.strip()
