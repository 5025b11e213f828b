"""A third party's distribution: built, installed and tested on its own, next to the registry, as its author does it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "registry-llama"


def run(*arguments: str | Path, site: Path | None = None, cwd: Path = EXAMPLE) -> str:
    """Run this Python with ``site`` among the places where it finds distributions; return what it prints."""
    environment = {**os.environ, **({} if site is None else {"PYTHONPATH": str(site)})}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the example's wheel in it, and nothing else.

    The wheel is built apart, from a copy of the sources, and unpacked without what it depends on: torch and the
    registry are those of this environment, so that nothing of gigabytes is fetched again, and other tests, which run
    without this directory, meet no further plugin.
    """
    directory = tmp_path_factory.mktemp("example")
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", directory, EXAMPLE)
    (wheel,) = directory.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", directory / "site", wheel)
    return directory / "site"


@pytest.mark.slow
def test_it_is_found_without_being_imported(site: Path, tmp_path: Path) -> None:
    code = (
        "import sys, registry\n"
        "assert registry.info('smollm2-135m').architecture == 'llama'\n"
        "assert registry.resolve('TinyLlama/TinyLlama-1.1B-Chat-v1.0').card.license == 'Apache-2.0'\n"
        "assert 'registry_llama.cards' in sys.modules\n"
        "assert not {'torch', 'registry_llama.modeling', 'sentencepiece'} & set(sys.modules)\n"
        "from registry.zoo import LlamaForCausalLM, LlamaTokenizer\n"
    )
    run("-c", code, site=site, cwd=tmp_path)
    assert "llama" in run("-m", "registry", "plugins", site=site, cwd=tmp_path)


@pytest.mark.slow
def test_its_own_tests_pass(site: Path, request: pytest.FixtureRequest) -> None:
    shared = Path(request.config.getoption("--shared"))
    options = [f"--shared={shared}"] if (shared / "data").is_dir() else []
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *options, site=site)
    assert " passed" in told
    assert " failed" not in told
