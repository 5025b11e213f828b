"""The kit's pytest plugin, which an author turns on: ``pytest_plugins = ["registry.testing.plugin"]``.

It fills in what the checks of a ``Suite`` ask for, skips those for which the architecture lacks the capability, and
keeps them away from the caches and settings of the machine.  Other tests are left alone.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

for _module in ("declarations", "configs", "tokenizers", "models", "checkpoints"):
    if f"registry.testing.{_module}" not in sys.modules:  # else its assertions explain less, and still hold
        pytest.register_assert_rewrite(f"registry.testing.{_module}")

from registry import discovery  # noqa: E402  # assertions must be prepared before suites are imported
from registry.errors import PluginError  # noqa: E402
from registry.testing.recorded import RecordedWeights  # noqa: E402
from registry.testing.suite import CAUSAL_TASKS, Suite  # noqa: E402

if TYPE_CHECKING:
    from registry.discovery.probe import Probe
    from registry.tokenization.base import Tokenizer

ENVIRONMENT = pytest.StashKey[Mapping[str, str]]()
"""The environment before anything was imported that could change it."""

SETTINGS = ("REGISTRY_PLUGINS", "REGISTRY_DISABLE_PLUGINS", "REGISTRY_STRICT")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let an author record what is published."""
    parser.addoption(
        "--record-weights",
        action="store_true",
        help="write the names and shapes of the tiny models' weights beside their suite, instead of comparing them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the environment, and make a mark known: ``-m "not another_process"`` leaves out what starts interpreters."""
    config.stash[ENVIRONMENT] = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    config.addinivalue_line("markers", "another_process: starts another interpreter, which takes a second or two")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a check that asks for ``task`` or ``causal_task`` one run for each that the plugin declares."""
    suite = metafunc.cls
    if not isinstance(suite, type) or not issubclass(suite, Suite):
        return
    for argument, among in (("task", None), ("causal_task", CAUSAL_TASKS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, _tasks(suite, among))


def _tasks(suite: type[Suite], among: tuple[str, ...] | None) -> list[Any]:
    try:
        tasks = [spec.task for spec in suite.specs() if among is None or spec.task in among]
    except PluginError:
        return ["unknown"]  # the check will ask the plugin too, and raise what it raises
    reason = f"{suite.plugin} declares no model for {' or '.join(among or ('any task',))} of {suite.architecture}"
    return tasks or [pytest.param("none", marks=pytest.mark.skip(reason=reason))]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check that needs a capability which the architecture lacks, and say why."""
    suite = getattr(item, "cls", None)
    if isinstance(suite, type) and issubclass(suite, Suite):
        for capability in getattr(getattr(item, "function", None), "needs", ()):
            if capability in suite.lacks:
                pytest.skip(f"{suite.architecture} lacks {capability!r}: {suite.lacks[capability]}")


@pytest.fixture(autouse=True)
def _registry_settings(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Let no setting of this machine decide what a suite finds, and let it download nothing."""
    if isinstance(request.cls, type) and issubclass(request.cls, Suite):
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("REGISTRY_OFFLINE", "1")
        monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path_factory.getbasetemp() / "no-cache"))
        if not hasattr(request.function, "of_loading"):
            try:
                discovery.records(request.cls.plugin)
            except PluginError as problem:
                pytest.fail(f"This check cannot begin, since the plugin cannot be loaded. {problem}")


@pytest.fixture(scope="class")
def registry_tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Tokenizer":
    """The tiny tokenizer of a suite."""
    suite: Any = request.cls
    tokenizer: Tokenizer = suite().make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return tokenizer


@pytest.fixture(scope="class")
def registry_probe(request: pytest.FixtureRequest) -> "Probe":
    """What the plugin did in a process of its own; see ``registry.discovery.probe``."""
    from registry.discovery.probe import probe

    suite: Any = request.cls
    found = probe(suite.plugin, environment=request.config.stash[ENVIRONMENT])
    if found.error is not None:
        pytest.fail(f"{suite.plugin!r} cannot be observed: {found.error}")
    return found


@pytest.fixture
def registry_folder(tmp_path: Path) -> Path:
    """An empty folder for what a check saves."""
    folder = tmp_path / "saved"
    folder.mkdir()
    return folder


@pytest.fixture
def registry_recorded(request: pytest.FixtureRequest, task: str) -> RecordedWeights:
    """What is recorded of the weights for a task, in a file beside the suite's module."""
    suite: Any = request.cls
    path = request.path.with_name(f"{suite.__name__}.weights.txt")
    return RecordedWeights(path, task, renew=request.config.getoption("--record-weights", False))
