"""Options and fixtures of every test."""

from pathlib import Path

import pytest

pytest_plugins = ["registry.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shared", help="directory with further texts, data/text/*.txt, for tests marked `parity`")


@pytest.fixture(scope="session")
def texts(request: pytest.FixtureRequest) -> dict[str, str]:
    """Natural texts: this package's README and sources, and those of --shared where it is given."""
    package = Path(__file__).parent.parent
    paths = [package / "README.md", *sorted(package.glob("src/*/*.py"))]
    folder = request.config.getoption("--shared")
    if folder is not None:
        paths += sorted(Path(folder, "data", "text").glob("*.txt"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep every test away from this machine's caches, and the reference away from the hub."""
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
