"""Options and fixtures of every test."""

from pathlib import Path

import pytest

pytest_plugins = ["registry.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shared", help="folder with texts, data/text/*.txt, for tests marked `parity`")


@pytest.fixture(scope="session")
def texts(request: pytest.FixtureRequest) -> dict[str, str]:
    """Natural texts; tests that ask for them are skipped where there are none."""
    folder = request.config.getoption("--shared")
    paths = [] if folder is None else sorted(Path(folder, "data", "text").glob("*.txt"))
    if not paths:
        pytest.skip("no texts; name a folder that has data/text/*.txt with --shared DIR")
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep every test away from this machine's caches, and the reference away from the hub."""
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
