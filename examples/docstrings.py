"""Real text that comes with every Python: the docstrings of its standard library."""

import ast
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

EXCLUDED = {"__pycache__", "dist-packages", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests"}
"""Directories that are not part of the library, or have mainly tests."""


class Docstring(NamedTuple):
    """The docstring of a module, a class or a function."""

    module: str
    """``email.message``"""
    name: str
    """``get_payload``; empty for a module."""
    text: str


@cache
def docstrings(*packages: str) -> tuple[Docstring, ...]:
    """The docstrings of these top-level modules, or of all, in the order of the files; each text once."""
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Docstring] = {}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).with_suffix("")
        if EXCLUDED.isdisjoint(inside.parts) and (not packages or inside.parts[0] in packages):
            module = ".".join(inside.parts).removesuffix(".__init__")
            for docstring in _parsed(module, path.read_bytes()):
                found.setdefault(docstring.text, docstring)
    return tuple(found.values())


def _parsed(module: str, source: bytes) -> Iterator[Docstring]:
    """The docstrings in the source of a module; no code is executed."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield Docstring(module, getattr(node, "name", ""), text)
