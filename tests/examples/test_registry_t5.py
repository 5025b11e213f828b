"""A third party's encoder-decoder: installed and tested on its own, and built of what the reference lists."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import registry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "registry-t5"
REFERENCE = re.compile(r"^::: (\S+)\n(?:(?:    .*\n)*? +members: \[([^\]]*)\])?", re.MULTILINE)
MOST_LINES = 330
"""Lines of code that the architecture takes, without blank lines and docstrings."""


def run(*arguments: str | Path, site: Path | None = None) -> str:
    """Run this Python with ``site`` among the places where it finds distributions; return what it prints."""
    environment = {**os.environ, **({} if site is None else {"PYTHONPATH": str(site)})}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=EXAMPLE,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_its_own_tests_pass(tmp_path: Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--no-deps", "--no-build-isolation", "--target", tmp_path, EXAMPLE)
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", site=tmp_path)
    assert " passed" in told
    assert " failed" not in told


def documented() -> tuple[set[str], set[str]]:
    """Modules of which the reference lists all, and single objects that it lists."""
    wholes, objects = {"registry"}, {f"registry.{name}" for name in registry.__all__}
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for path, members in REFERENCE.findall(page.read_text("utf-8")):
            names = [name.strip() for name in members.split(",") if name.strip()]
            objects |= {path, *(f"{path}.{name}" for name in names)}
            wholes |= set() if names else {path}
    return wholes, objects


def test_it_imports_what_the_reference_lists() -> None:
    wholes, objects = documented()
    short = {name.rpartition(".")[2]: name for name in objects}
    for path in sorted((EXAMPLE / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "registry":
                for name in (alias.name for alias in node.names):
                    listed = node.module in wholes or f"{node.module}.{name}" in objects
                    assert listed or short.get(name, "").startswith(f"{node.module}."), f"{node.module}.{name}"
                    assert not name.startswith("_")


def test_it_is_as_short_as_promised() -> None:
    assert sum(map(lines_of, (EXAMPLE / "src").rglob("*.py"))) <= MOST_LINES


def lines_of(path: Path) -> int:
    """Lines that are neither blank nor of a docstring."""
    source = path.read_text("utf-8")
    texts = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    return sum(bool(line.strip()) and number not in texts for number, line in enumerate(source.splitlines(), 1))
