"""Vocabularies and texts for the tests of tokenizers."""

from pathlib import Path

import pytest

SHIPPED = Path(__file__).parent.parent / "fixtures" / "vocabularies"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for ``vocabularies`` on the small ones that are shipped, and on the real ones of --shared."""
    if "vocabularies" in metafunc.fixturenames:
        found = {"small": SHIPPED, "real": Path(metafunc.config.getoption("--shared"), "data")}
        present = {name: folder for name, folder in found.items() if folder.is_dir()}
        metafunc.parametrize("vocabularies", present.values(), ids=present.keys(), scope="session")


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The small vocabularies, for a test to which one vocabulary is as good as another."""
    return SHIPPED


@pytest.fixture(scope="session")
def odd() -> list[str]:
    """Lines of odd characters, alone and together."""
    text = (SHIPPED / "text" / "odd.txt").read_text(encoding="utf-8")
    return [*text.splitlines(keepends=True), text]
