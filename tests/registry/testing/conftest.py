"""The scaffold's package, pretended to be installed, and pytest run on its conformance tests in this process."""

import multiprocessing.forkserver
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import registry.testing
from registry import discovery
from registry.cli.setup.new import render

NAME = "my-tiny"
METADATA = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.1.0\n"
ENTRY_POINTS = f"[registry.v1]\n{NAME} = my_tiny.plugin\n"

for _suite in registry.testing.__all__:  # pytester forgets what is first imported while it runs ...
    getattr(registry.testing, _suite)
assert multiprocessing.forkserver  # ... whose one server is then started for all runs; ...
torch.testing.assert_close(torch.zeros(1), torch.zeros(1))  # ... and parts of torch cannot be imported twice


@pytest.fixture(scope="session")
def files() -> dict[str, str]:
    """The scaffold's files, and the names of weights as its author recorded them: path -> text."""
    recorded = {"tests/TestMyTiny.weights.txt": (Path(__file__).parent / "my_tiny.weights.txt").read_text("utf-8")}
    return {path.as_posix(): text for path, text in render(NAME)} | recorded


@pytest.fixture(scope="session")
def weights(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory, warm: Any) -> dict[str, bytes]:
    """The files of the model which the scaffold's script trains."""
    project = tmp_path_factory.mktemp("project")
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, "utf-8")
    code, printed = warm.run(project / "make_tiny.py", cwd=project)
    assert code == 0, printed
    return {path.name: path.read_bytes() for path in (project / "src" / "my_tiny" / "tiny").iterdir()}


class Outcome(NamedTuple):
    """Names of checks, by what became of them in at least one of their runs."""

    passed: set[str]
    skipped: set[str]
    failed: set[str]
    not_begun: set[str]
    """Those whose fixtures failed."""
    told: str
    """What is said of those that failed, first failure first; with the option ``--tb=short``."""


Run = Callable[..., Outcome]


def checks(reports: list[pytest.TestReport], when: str = "call") -> set[str]:
    return {re.sub(r"\[.*", "", report.nodeid.rpartition("::")[2]) for report in reports if report.when == when}


@pytest.fixture(scope="session", autouse=True)
def _compiler() -> None:
    """Import what an optimizer imports: pytester forgets what a run imports, and torch cannot be imported twice."""
    import torch._dynamo  # noqa: F401


@pytest.fixture
def run(
    pytester: pytest.Pytester, files: dict[str, str], weights: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Install the scaffold's package with ``changes``, and run its conformance tests; returns what became of each."""
    environment = dict(os.environ)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # whose search takes longer than a check, ...
    monkeypatch.setattr(
        pytest.PytestPluginManager, "load_setuptools_entrypoints", lambda *_, **__: 0
    )  # ... also by name

    def run(changes: dict[str, str], *options: str) -> Outcome:
        site = pytester.path
        written = {**files, **changes}
        for path, text in written.items():
            place = site / path.removeprefix("src/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, "utf-8")
        (site / "my_tiny" / "tiny").mkdir()
        for name, data in weights.items():
            (site / "my_tiny" / "tiny" / name).write_bytes(data)
        info = site / "my_tiny-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(written.get("METADATA", METADATA))
        (info / "entry_points.txt").write_text(written.get("entry_points.txt", ENTRY_POINTS))
        (info / "RECORD").write_text("".join(f"my_tiny/tiny/{name},,\n" for name in weights))
        monkeypatch.syspath_prepend(site)
        discovery.refresh()
        unused = ("-p", "no:cacheprovider", "-p", "no:logging", "-p", "no:faulthandler")
        recorder = pytester.inline_run(*unused, "-q", "--tb=no", "tests", *options)
        passed, skipped, failed = recorder.listoutcomes()
        told = "\n".join(report.longreprtext for report in failed)
        return Outcome(checks(passed), checks(skipped, "setup"), checks(failed), checks(failed, "setup"), told)

    yield run
    os.environ.clear()
    os.environ.update(environment)
    discovery.refresh()
