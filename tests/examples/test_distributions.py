"""Distributions of third parties: built, installed and tested on their own, next to the registry, as authors do it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("registry-*"))

Install = Callable[[list[str], Path], Path]


def run(*arguments: str | Path, cwd: Path, site: Path | None = None) -> str:
    """Run this Python with ``site`` among the places where it finds distributions; return what it prints."""
    environment = {**os.environ, **({} if site is None else {"PYTHONPATH": str(site)})}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
"""What pip asks of a distribution's build system, without the second that pip takes."""


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str], Path], Path]:
    """Makes a directory with the wheels of some examples in it, and nothing else.

    Each is built once, from a copy of the sources, and unpacked without what it depends on: torch and the registry
    are those of this environment, so that nothing of gigabytes is fetched again, and other tests, which run without
    this directory, meet no further plugin.
    """

    @cache
    def wheel(name: str) -> Path:
        directory = tmp_path_factory.mktemp(name)
        sources = shutil.copytree(
            EXAMPLES / name, directory / "sources", ignore=shutil.ignore_patterns("build", "*.egg-info", "tests", ".*")
        )
        assert 'build-backend = "setuptools.build_meta"' in (sources / "pyproject.toml").read_text(encoding="utf-8")
        run("-c", BUILD, directory, cwd=sources)
        (built,) = directory.glob("*.whl")
        return built

    def install(names: list[str], directory: Path) -> Path:
        for name in names:
            with ZipFile(wheel(name)) as archive:
                archive.extractall(directory / "site")
        return directory / "site"

    return install


def needed_by(name: str) -> list[str]:
    """The example, and those others that its tests use."""
    requirements = (EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8")
    return [other for other in NAMES if other == name or re.search(rf'"{other}\b', requirements)]


@pytest.mark.slow
def test_it_is_found_without_being_imported(install: Install, tmp_path: Path) -> None:
    code = (
        "import sys, registry\n"
        "assert registry.info('smollm2-135m').architecture == 'llama'\n"
        "assert registry.resolve('TinyLlama/TinyLlama-1.1B-Chat-v1.0').card.license == 'Apache-2.0'\n"
        "assert 'registry_llama.cards' in sys.modules\n"
        "assert not {'torch', 'registry_llama.modeling', 'sentencepiece'} & set(sys.modules)\n"
        "from registry.zoo import LlamaForCausalLM, LlamaTokenizer\n"
    )
    site = install(["registry-llama"], tmp_path)
    run("-c", code, site=site, cwd=tmp_path)
    assert "llama" in run("-m", "registry", "plugins", site=site, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass(
    name: str, install: Install, warm: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = install(needed_by(name), tmp_path)
    shared = Path(request.config.getoption("--shared"))
    takes_shared = "--shared" in (EXAMPLES / name / "tests" / "conftest.py").read_text(encoding="utf-8")
    options = [f"--shared={shared}"] if takes_shared and (shared / "data").is_dir() else []
    options.append(f"--basetemp={tmp_path / 'tests'}")
    code, told = warm.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        cwd=EXAMPLES / name,
        # What transformers imports can no longer be rewritten, of which pytest would warn for its plugins.
        environment={**os.environ, "PYTHONPATH": str(site), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        modules=("transformers.modeling_utils", "hypothesis"),
        preloaded=("registry.sharding.dividing", "registry.testing.on_ranks"),  # for the ranks of the kit
    )
    assert code == 0, told[-4000:]
    assert " passed" in told
    assert " failed" not in told
