"""A clean environment, in which this project is installed from its wheel, as a third party has it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

import registry

ROOT = Path(registry.__file__).parent.parent.parent


class Environment(NamedTuple):
    """A virtual environment and its commands."""

    venv: Path

    def call(self, line: str, cwd: Path) -> str:
        """What a line of a shell prints; ``python``, ``pip``, ``pytest`` and ``registry`` are the environment's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REGISTRY"))}
        kept |= {"PATH": f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        kept["PIP_NO_WARN_CONFLICTS"] = "1"  # to search all that is installed for them takes pip two seconds each time
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=cwd,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with this project's wheel in it.

    What the project depends on is found in the running environment, by a .pth file: torch is too large to be installed
    again.  Nothing of the project itself comes from there, since that is installed in editable form, by .pth files, and
    those of a directory which a .pth file names are not read.
    """
    directory = tmp_path_factory.mktemp("clean")
    environment = Environment(directory / "venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment.venv)], check=True)
    site = environment.call("python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'", directory).strip()
    Path(site, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for command in ("pip", "pytest"):
        script = environment.venv / "bin" / command
        script.write_text(f'#!/bin/sh\nexec python -m {command} "$@"\n')
        script.chmod(0o755)
    source = directory / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    environment.call(
        "pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .", source
    )  # by torch's setuptools
    environment.call("pip install --quiet --no-deps --no-index dist/*.whl", source)
    return environment
