"""The effects of importing one plugin, observed in a process of its own: cost, further imports, changed state.

A plugin may hang, end its process, or change the state of others (``os.environ``, ``torch.set_default_dtype``); only
another process survives to report.  ``probe(name)`` starts one, which runs ``main``.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from time import process_time
from typing import Any

from attrs import frozen

from registry import discovery
from registry.discovery.hooks import HookManager
from registry.discovery.plugin import Plugin, describe_exception, module_and_path
from registry.errors import UnknownPluginError
from registry.garbage import skip_last_collections
from registry.records import Card, ConfigSpec, LazyRef, Record, TokenizerSpec, WeightLoaderSpec

HEAVY = ("torch", "numpy", "requests", "regex", "sentencepiece", "safetensors", "tokenizers", "transformers", "jax")
"""Packages that a plugin should not import before a class of it is needed."""

TOO_HEAVY_FOR_TEXT = ("torch", "numpy", "requests", "transformers", "jax")
"""Packages that configurations and tokenizers should not import."""


@frozen(kw_only=True)
class Probe:
    """Effects of one plugin in a process of its own."""

    name: str
    error: str | None = None
    """Why it cannot be used: its own error, the end of its process, or a timeout."""
    imported_unasked: bool = False
    """Whether its module was imported before the plugin was loaded."""
    imported_when_disabled: bool = False
    """Whether its module was imported although ``REGISTRY_DISABLE_PLUGINS`` named it."""
    modules: tuple[str, ...] = ()
    """Modules that were imported with it and by its hooks."""
    seconds: float = 0.0
    """CPU time of its import and hooks."""
    heavy: tuple[str, ...] = ()
    """Those of ``HEAVY`` among the modules."""
    heavy_for_text: tuple[str, ...] = ()
    """Those of ``TOO_HEAVY_FOR_TEXT`` that its configurations, tokenizers and format detectors import."""
    broken: Mapping[str, str] = {}
    """Broken references: ``"module:Class"`` -> error."""
    changed: tuple[str, ...] = ()
    """State of others that importing all its references changed: ``"os.environ: KEY"``."""


def probe(
    name: str,
    distribution: str | None = None,
    *,
    timeout: float = 120.0,
    environment: Mapping[str, str] = os.environ,
) -> Probe:
    """Import an installed plugin, and everything that it refers to, in a process of its own.

    Args:
        name: The plugin's name.
        distribution: Its distribution, where several have plugins of the name.
        timeout: Seconds until the process is ended.
        environment: The environment of the process, whose ``sys.path`` is this one's.

    Returns:
        The observations; for a plugin that fails, ``error`` says why.
    """
    command = [sys.executable, "-c", "from registry.discovery.probe import main; main()", name, distribution or ""]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        run = subprocess.run(  # noqa: S603  # this interpreter, and a name that it looks up
            command, env=environment, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Probe(name=name, error=f"Its import did not end within {timeout:g} s.")
    try:
        found = json.loads(run.stdout)
    except ValueError:
        last = (run.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        return Probe(name=name, error=f"Its import ended the process with code {run.returncode}: {last}")
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Probe(**fields)


# --- In the other process ---------------------------------------------------------------------------------------------


def main() -> None:
    """Probe the plugin that the command line names, and print the result as JSON; all other output goes to stderr."""
    skip_last_collections()
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    json.dump(_observe(*sys.argv[1:]), report)
    report.close()


def _observe(name: str, distribution: str) -> dict[str, Any]:
    module, _ = module_and_path(str(_installed(name, distribution).target))
    found: dict[str, Any] = {"name": name, "imported_unasked": module in sys.modules}
    found["imported_when_disabled"] = not found["imported_unasked"] and _imported_when_disabled(
        name, distribution, module
    )
    plugin = _installed(name, distribution)
    importlib.import_module("registry.config.config")  # what the core itself needs is not the plugin's
    before, state = set(sys.modules), _state_of_others()
    start = process_time()
    plugin.load(HookManager())
    found["seconds"] = process_time() - start
    found["modules"] = sorted(set(sys.modules) - before)
    found["heavy"] = _among(HEAVY, before)
    if plugin.error is not None:
        return {**found, "error": plugin.error.message}
    found["broken"] = _broken(plugin, heavy=False)
    found["heavy_for_text"] = [name for name in _among(TOO_HEAVY_FOR_TEXT, before) if name not in found["heavy"]]
    found["changed"] = _differences(state, _state_of_others())
    if any(references(record, heavy=True) for record in plugin.records):  # else torch is not needed
        importlib.import_module("registry.loading.model")
        state = _state_of_others()
        found["broken"] |= _broken(plugin, heavy=True)
        found["changed"] += _differences(state, _state_of_others())
    return found


def _installed(name: str, distribution: str) -> Plugin:
    for plugin in discovery.plugins_called(name):
        if plugin.name == name and plugin.target is not None and distribution in ("", plugin.distribution):
            return plugin
    raise UnknownPluginError(f"no plugin is called {name!r}.", hint="`registry plugins` lists them.")


def _imported_when_disabled(name: str, distribution: str, module: str) -> bool:
    """Whether loading the other plugins of its distribution imports a disabled one."""
    before = dict(os.environ)
    os.environ |= {
        "REGISTRY_PLUGINS": str(_installed(name, distribution).distribution),
        "REGISTRY_DISABLE_PLUGINS": name,
    }
    try:
        discovery.plugins()
    finally:
        os.environ.clear()
        os.environ.update(before)
        discovery.refresh()
    return module in sys.modules


def _among(names: tuple[str, ...], before: set[str]) -> list[str]:
    return [name for name in names if name in sys.modules and name not in before]


def references(record: Record, *, heavy: bool) -> list[LazyRef]:
    """The references of a record: those that must do without torch, or the others."""
    if isinstance(record, WeightLoaderSpec):
        others = [record.loader] + ([record.names] if record.names is not None else [])
        others += [record.headers] if record.headers is not None else []
        light = [reference for reference in (record.detect, record.config, record.tokenizer) if reference is not None]
        return others if heavy else light
    if isinstance(record, Card):
        return []
    if isinstance(record, ConfigSpec) and record.reader is not None and not heavy:
        return [record.cls, record.reader]
    return [record.cls] if isinstance(record, (ConfigSpec, TokenizerSpec)) != heavy else []


def _broken(plugin: Plugin, *, heavy: bool) -> dict[str, str]:
    """The references that lead nowhere, of those that must do without torch or of the others, and why."""
    problems = {}
    for reference in (reference for record in plugin.records for reference in references(record, heavy=heavy)):
        try:
            reference.load()
        except (Exception, SystemExit) as problem:  # noqa: BLE001  # a third party's mistake, whatever it is
            problems[str(reference)] = describe_exception(problem)
    return problems


def _state_of_others() -> dict[str, Any]:
    """State that an import must not change; that of torch only where it has been imported."""
    import locale
    import logging
    import signal
    import warnings

    state: dict[str, Any] = {
        "os.environ": dict(os.environ),
        "sys.path": list(sys.path),
        "os.getcwd()": os.getcwd(),  # noqa: PTH109  # a text, to be compared and printed
        "sys.getrecursionlimit()": sys.getrecursionlimit(),
        "warnings.filters": [str(entry) for entry in warnings.filters if _concerns_others(entry)],
        "logging level": logging.getLogger().level,
        "logging handlers": [str(handler) for handler in logging.getLogger().handlers],
        "signal handlers": {str(number): str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)},
        "locale": locale.setlocale(locale.LC_ALL),
    }
    torch = sys.modules.get("torch")
    return state if torch is None else {**state, **_state_of_torch(torch)}


def _concerns_others(entry: Any) -> bool:
    """Whether a filter of warnings is not one which a library has for its own messages or classes."""
    _, message, category, module, _ = entry
    return message is module is None and category.__module__ == "builtins"


def _state_of_torch(torch: Any) -> dict[str, Any]:
    return {
        "torch.get_default_dtype()": str(torch.get_default_dtype()),
        "torch.get_default_device()": str(torch.get_default_device()),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.initial_seed()": torch.initial_seed(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "torch safe globals": [str(entry) for entry in torch.serialization.get_safe_globals()],
    }


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The state that changed, described."""
    changed = []
    for name, value in before.items():
        new = after[name]  # torch may have been imported meanwhile, but is never unloaded
        if value != new:
            keys = (
                [key for key in {**value, **new} if value.get(key) != new.get(key)] if isinstance(value, dict) else []
            )
            changed.append(f"{name}: {', '.join(sorted(keys)) or f'{value!r:.60} became {new!r:.60}'}")
    return changed
