"""Vocabularies and texts for the tests of tokenizers."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

Documents = Callable[[Path], list[str]]

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


@pytest.fixture(scope="session")
def documents(examples: int) -> Documents:
    """Cuts a file into documents of 2,000 characters: all, or as many as there are random cases."""

    def cut(path: Path) -> list[str]:
        text = path.read_text(encoding="utf-8")
        every = [text[start : start + 2000] for start in range(0, len(text), 2000)]
        return every[:: max(1, len(every) // examples)]

    return cut


@pytest.fixture(scope="session")
def characters() -> list[str]:
    """Every assigned character, and each 97th of the code points for private use and of those without a character."""
    points = [chr(code) for code in range(0x110000)]
    kinds = [unicodedata.category(point) for point in points]
    return [
        point
        for code, (point, kind) in enumerate(zip(points, kinds, strict=True))
        if kind != "Cs" and (kind not in ("Cn", "Co") or code % 97 == 0)
    ]
