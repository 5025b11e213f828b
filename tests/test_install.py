"""``scripts/install`` says in one line what it needs; what it installs is tried by CI, on a fresh clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts are for bash")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory, with a blank in its name, that has what the script reads."""
    found = tmp_path / "a clone"
    (found / "scripts").mkdir(parents=True)
    compiled = [f"src/registry/tokenization/{name}.c" for name in ("compiled", "compiled_chunks")]
    (found / compiled[0]).parent.mkdir(parents=True)
    for name in ("scripts/install", "setup.cfg", "setup.py", "pyproject.toml", "constraints.txt", *compiled):
        shutil.copy(ROOT / name, found / name)
    return found


def install(clone: Path, **environment: str) -> tuple[int, str]:
    """The exit code of the script, and what it says; no package index can be reached."""
    away = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone), "PIP_CONFIG_FILE": os.devnull}
    ended = subprocess.run(
        [clone / "scripts" / "install"], capture_output=True, text=True, env={**os.environ, **away, **environment}
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_missing_or_too_old_is_named(clone: Path, tmp_path: Path) -> None:
    code, said = install(clone, PYTHON="/nowhere/python")
    assert (code, said.count("\n")) == (1, 1)
    assert "Python 3.11, 3.12 or 3.13 is needed; /nowhere/python is not there." in said
    old = program(tmp_path / "python3.10", 'case "$2" in *platform*) echo 3.10.4;; *) exit 1;; esac')
    code, said = install(clone, PYTHON=old)
    assert (code, said.count("\n")) == (1, 1)
    assert "python3.10 is 3.10.4. Name one: PYTHON=" in said
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_leaves_nothing_half_made(clone: Path, tmp_path: Path) -> None:
    poor = program(tmp_path / "poor", f'[ "$1" = -m ] && {{ mkdir .venv; exit 1; }}\nexec "{sys.executable}" "$@"')
    code, said = install(clone, PYTHON=poor)
    assert code == 1
    assert "install its venv module (Debian, Ubuntu: apt install python3-venv)" in said
    assert not (clone / ".venv").exists()


@pytest.mark.slow
def test_an_incomplete_environment_is_made_again_and_a_missing_index_is_explained(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    code, said = install(clone, PYTHON=sys.executable)
    lines = said.splitlines()
    assert code == 1
    assert lines[0].startswith("The directory .venv is incomplete, was moved")
    assert lines[1].startswith(f"Creating .venv with {sys.executable}")
    assert "1 GB" in lines[2]
    assert lines[3].startswith(
        "scripts/install: pip gets no packages: check the network, HTTPS_PROXY and PIP_INDEX_URL"
    )
    assert len(lines) == 4
