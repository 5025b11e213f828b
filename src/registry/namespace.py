"""The package ``plugins``, the home of first-party plugins, which an application may hide behind its own."""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.garbage import gc_spared

NAMESPACE = "plugins"
"""The package of first-party plugins, a namespace to which third parties may add theirs."""


def import_plugin_module(module: str) -> ModuleType:
    """Import ``module``, even where an application hides the namespace ``plugins`` behind a module of that name."""
    if module.partition(".")[0] == NAMESPACE:
        extend_namespace()
    if module in sys.modules:
        return import_module(module)
    with gc_spared():
        return import_module(module)


def import_object(reference: str) -> Any:
    """Import what ``"module:name"`` refers to; dots in the name are attributes of attributes.

    Raises:
        ImportError: The module cannot be imported.
        AttributeError: The module has no such attribute.
    """
    module, _, path = reference.partition(":")
    found: Any = import_plugin_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def extend_namespace() -> None:
    """Make ``import plugins.x`` find every portion of the namespace in addition to an application's own ``plugins``.

    An application may have a package ``plugins`` or a module ``plugins.py``; either hides the namespace.  As with
    ``pkgutil.extend_path``, the portions that lie on ``sys.path``, ours among them, are appended to its ``__path__``;
    the application's own modules come first, and stay importable.
    """
    package = import_module(NAMESPACE)
    path = getattr(package, "__path__", None)
    if path is None:
        package.__path__ = path = []
    if not isinstance(path, list):
        return  # a namespace package: Python itself keeps its path complete
    ours = Path(__file__).parent.parent
    for entry in dict.fromkeys([*sys.path, str(ours)]):
        portion = Path(entry, NAMESPACE)
        if str(portion) not in path and portion.is_dir() and not (portion / "__init__.py").exists():
            path.append(str(portion))


# --- Pickles ----------------------------------------------------------------------------------------------------------


def revive(reference: str | type, state: Mapping[str, Any] | None = None) -> Any:
    """Restore a pickled object of a plugin's class, even where an application has its own ``plugins``.

    Args:
        reference: What ``reference_to`` returned; a class named by a string is imported with ``import_object``.
        state: The argument of its ``__setstate__``, else the contents of its ``__dict__``.  Without a state, the
            pickle sets it afterwards (as torch modules need, which may refer to themselves).

    Returns:
        The object, made without its constructor.
    """
    cls: Any = import_object(reference) if isinstance(reference, str) else reference
    made = cls.__new__(cls)
    if state is not None:
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            vars(made).update(state)
    return made


def reference_to(cls: type) -> str | type:
    """The argument by which ``revive`` finds a class: its name where ``plugins`` may be hidden, else the class."""
    in_namespace = cls.__module__.partition(".")[0] == NAMESPACE
    return f"{cls.__module__}:{cls.__qualname__}" if in_namespace else cls
