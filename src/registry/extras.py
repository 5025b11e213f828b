"""Packages that only some features need, and the extra that installs each."""

from importlib import import_module
from typing import Any

from registry.errors import MissingDependencyError

EXTRAS = {
    "click": "cli",
    "rich": "cli",
    "jinja2": "pages",
    "google_crc32c": "tensorflow-files",
    "cramjam": "tensorflow-files",
    "numpy": "all",
    "pyarrow": "bulk",
    "ray": "ray",
}
"""Module -> the extra of ``torch-registry`` that installs it."""


def import_extra(module: str, needed_for: str) -> Any:
    """Import a package of an extra.

    Args:
        module: The module's name, of a package in ``EXTRAS``.
        needed_for: What needs it, as the subject of a sentence: ``"A TensorFlow checkpoint"``.

    Returns:
        The module.

    Raises:
        MissingDependencyError: It is not installed.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name not in (module, package):
            raise
        raise MissingDependencyError(
            f"{needed_for} needs the package {package}, which is not installed.",
            hint=f'pip install "torch-registry[{EXTRAS[package]}]" installs it.',
        ) from problem
