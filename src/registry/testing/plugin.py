"""The kit's pytest plugin; an author enables it with ``pytest_plugins = ["registry.testing.plugin"]``.

It provides the fixtures of a ``Suite``, skips checks of unsupported capabilities, and isolates checks from the caches
and settings of the machine.  Other tests are not affected.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

for _module in ("declarations", "configs", "tokenizers", "models", "seq2seq", "checkpoints", "parallel"):
    if f"registry.testing.{_module}" not in sys.modules:  # else its assertions explain less
        pytest.register_assert_rewrite(f"registry.testing.{_module}")

from registry import discovery  # noqa: E402  # assertions are rewritten before suites are imported
from registry.errors import PluginError, RegistryError  # noqa: E402
from registry.garbage import skip_last_collections  # noqa: E402
from registry.records import ConfigSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec  # noqa: E402
from registry.testing.recorded import RecordedWeights  # noqa: E402
from registry.testing.suite import ANSWERING_TASKS, CAUSAL_TASKS, Suite  # noqa: E402

if TYPE_CHECKING:
    from registry.discovery.probe import Probe
    from registry.testing.ranks import RankPool
    from registry.tokenization.base import Tokenizer

ENVIRONMENT = pytest.StashKey[Mapping[str, str]]()
"""The environment before plugins are imported, which may change it."""

BROKEN_CONFIGURATIONS = pytest.StashKey[dict[type, str]]()
"""Suites whose tiny configuration cannot be made, with the first check that has met it."""

OBJECTS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "ConfigSuite": ((ConfigSpec,), "configuration"),
    "TokenizerSuite": ((TokenizerSpec,), "tokenizer"),
    "ModelSuite": ((ModelSpec,), "model"),
    "Seq2SeqSuite": ((ModelSpec,), "model"),
    "ParallelSuite": ((ModelSpec,), "model"),
    "CheckpointSuite": ((ModelSpec, WeightLoaderSpec), "model or format of weights"),
}
"""The suites, with the records that their checks are about."""

SETTINGS = ("REGISTRY_PLUGINS", "REGISTRY_DISABLE_PLUGINS", "REGISTRY_PREFER", "REGISTRY_STRICT")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--record-weights``."""
    parser.addoption(
        "--record-weights",
        action="store_true",
        help="write the names and shapes of the tiny models' weights next to their suite instead of comparing them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Save the environment, and register the marker of checks that start another interpreter."""
    skip_last_collections()
    config.stash[ENVIRONMENT] = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    config.addinivalue_line("markers", "another_process: starts another interpreter, which takes a second or two")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``task``, ``causal_task`` and ``answering_task`` with the tasks that the plugin declares."""
    suite = metafunc.cls
    if not isinstance(suite, type) or not issubclass(suite, Suite):
        return
    for argument, among in (("task", None), ("causal_task", CAUSAL_TASKS), ("answering_task", ANSWERING_TASKS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, _tasks(suite, among))


def _tasks(suite: type[Suite], among: tuple[str, ...] | None) -> list[Any]:
    try:
        tasks = [spec.task for spec in suite.specs() if among is None or spec.task in among]
    except PluginError:
        return ["unknown"]  # the check loads the plugin as well, and raises the same error
    reason = f"{suite.plugin} declares no model for {' or '.join(among or ('any task',))} of {suite.architecture}"
    return tasks or [pytest.param("none", marks=pytest.mark.skip(reason=reason))]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check of an unsupported capability, with the author's reason."""
    suite = getattr(item, "cls", None)
    if isinstance(suite, type) and issubclass(suite, Suite):
        _skip_what_is_not_declared(suite, item.name.partition("[")[0])
        for capability in getattr(getattr(item, "function", None), "needs", ()):
            if capability in suite.unsupported:
                pytest.skip(f"{suite.architecture} does not support {capability!r}: {suite.unsupported[capability]}")


def _skip_what_is_not_declared(suite: type[Suite], check: str) -> None:
    """Skip a check of what a plugin that adds to an architecture does not declare: it is of another plugin."""
    owner = next((cls.__name__ for cls in suite.__mro__ if check in vars(cls)), "")
    kinds, noun = OBJECTS.get(owner, ((), ""))
    try:
        declared = not kinds or suite.declares(ConfigSpec, *kinds)
    except RegistryError:
        return  # the check loads the plugin as well, and raises the same error
    if not declared:
        pytest.skip(f"{suite.plugin} declares no {noun} for {suite.architecture}")
    if owner == "TokenizerSuite" and suite.declares(TokenizerSpec):
        _skip_unless_tokenizer(suite)


def _skip_unless_tokenizer(suite: type[Suite]) -> None:
    try:
        is_tokenizer = suite().processor_is_tokenizer()
    except PluginError:
        return  # another check reports it
    if not is_tokenizer:
        name = suite().tokenizer_spec().cls.name
        pytest.skip(f"the processor of {suite.architecture} is a {name}, which is not a tokenizer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of each suite, run the checks first that report why a plugin cannot be loaded."""
    places: dict[type, list[int]] = {}
    for number, item in enumerate(items):
        cls = getattr(item, "cls", None)
        if isinstance(cls, type) and issubclass(cls, Suite):
            places.setdefault(cls, []).append(number)
    for numbers in places.values():
        checks = sorted(
            (items[n] for n in numbers), key=lambda i: not hasattr(getattr(i, "function", None), "of_loading")
        )
        for number, check in zip(numbers, checks, strict=True):
            items[number] = check


@pytest.fixture(autouse=True)
def _registry_settings(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Isolate a suite from the settings of this machine, and forbid downloads."""
    if isinstance(request.cls, type) and issubclass(request.cls, Suite):
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("REGISTRY_OFFLINE", "1")
        monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path_factory.getbasetemp() / "no-cache"))
        if not hasattr(request.function, "of_loading"):
            try:
                discovery.records(request.cls.plugin)
            except RegistryError as problem:
                first = str(problem).partition("\n")[0]
                pytest.fail(f"This check cannot run, since the plugin cannot be loaded: {first}", pytrace=False)
            _require_tiny_configuration(request)


def _require_tiny_configuration(request: pytest.FixtureRequest) -> None:
    """Fail in one line where the tiny configuration cannot be made, once a check has failed in full for it."""
    suite: Any = request.cls
    failed = request.config.stash.setdefault(BROKEN_CONFIGURATIONS, {})
    if suite not in failed and hasattr(suite, "config"):
        try:
            suite().make_config()
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  # the check itself raises it again
            failed[suite] = request.node.name
    elif failed.get(suite) not in (None, request.node.name):
        pytest.fail(
            f"This check cannot run: the tiny configuration cannot be made, see {failed[suite]}.", pytrace=False
        )


@pytest.fixture(scope="class")
def registry_tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Tokenizer":
    """The tiny tokenizer of a suite."""
    suite: Any = request.cls
    tokenizer: Tokenizer = suite().make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return tokenizer


@pytest.fixture(scope="class")
def registry_probe(request: pytest.FixtureRequest) -> "Probe":
    """The observations of the plugin in a separate process; see ``registry.discovery.probe``."""
    from registry.discovery.probe import probe

    suite: Any = request.cls
    found = probe(suite.plugin, environment=request.config.stash[ENVIRONMENT])
    if found.error is not None:
        pytest.fail(f"{suite.plugin!r} could not be checked in a separate process: {found.error}")
    return found


@pytest.fixture(scope="session")
def registry_ranks() -> "Iterator[RankPool]":
    """Two processes that run functions together; they are started when a check first needs them."""
    from registry.testing.ranks import RankPool

    ranks = RankPool(2)
    yield ranks
    ranks.close()


@pytest.fixture
def registry_directory(tmp_path: Path) -> Path:
    """An empty directory for what a check saves."""
    directory = tmp_path / "saved"
    directory.mkdir()
    return directory


@pytest.fixture
def registry_recorded(request: pytest.FixtureRequest, task: str) -> RecordedWeights:
    """The recorded weights of a task, in a file next to the suite's module."""
    suite: Any = request.cls
    path = request.path.with_name(f"{suite.__name__}.weights.txt")
    return RecordedWeights(path, task, renew=request.config.getoption("--record-weights", False))
