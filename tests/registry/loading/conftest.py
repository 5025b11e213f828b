"""What loading asks, counted."""

import pytest

from registry.records import Paths
from registry.sources.files import Files


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The roles for which the files of models were asked, one entry for each question."""
    questions: list[tuple[str, ...]] = []
    of = Files.of

    def counted(self: Files, *roles: str) -> Paths:
        questions.append(roles)
        return of(self, *roles)

    monkeypatch.setattr(Files, "of", counted)
    return questions
