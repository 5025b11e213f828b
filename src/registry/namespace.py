"""The package ``plugins``, the home of first-party plugins, which an application may hide behind its own."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

NAMESPACE = "plugins"
"""The package of first-party plugins, a namespace to which third parties may add theirs."""


def import_plugin_module(module: str) -> ModuleType:
    """Import ``module``, even where an application hides the namespace ``plugins`` behind a module of that name."""
    if module.partition(".")[0] == NAMESPACE:
        extend_namespace()
    return import_module(module)


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
