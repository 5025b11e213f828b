"""A small run of answer.py, and its spans."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

import registry


def test_it_trains_saves_loads_and_answers(
    run: Callable[..., str], example: Callable[[str], ModuleType], tiny_bert: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    some(example, monkeypatch, "ipaddress", "tarfile")
    printed = run("answer", tmp_path / "out", "--model", tiny_bert, "--steps", 2, "--batch-size", 2)
    assert "others, exact match" in printed
    assert "What does boil return?" in printed
    assert type(registry.load(tmp_path / "out" / "model").model).__name__ == "BertForQuestionAnswering"


def some(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Have only the docstrings of some modules, which are read in no time."""
    found = example("docstrings").docstrings(*modules)
    monkeypatch.setattr(example("answer"), "docstrings", lambda: found)


@pytest.fixture
def questions(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    some(example, monkeypatch, "email", "ipaddress", "os", "statistics")
    found: list[Any] = example("answer").questions(Random(0))
    return found


def test_answers_stand_where_they_are_said_to_stand(questions: list[Any]) -> None:
    assert len(questions) > 100
    for question in questions:
        before = question.page[: question.start]
        assert before.endswith(("return ", "returns ", "Return ", "Returns ", "if ", "when ", "eturn: ", "eturns: "))
        assert question.answer == question.answer.strip() != ""


def test_the_tokens_of_a_span_spell_the_answer(example: Callable[[str], ModuleType], questions: list[Any]) -> None:
    answer = example("answer")
    tokenizer = registry.load_tokenizer("all-minilm-l6-v2")
    asked = questions[:50]
    batch = answer.windows(tokenizer, asked)
    starts, ends = answer.spans(batch, asked)
    seen = set()
    for ids, start, end, index in zip(batch["input_ids"], starts, ends, batch.text_index, strict=True):
        if start:
            seen.add(index)
            spelt = tokenizer.decode(ids[start : end + 1])
            assert tokenizer.encode(spelt) == tokenizer.encode(asked[index].answer)
    assert len(seen) > 45  # some answers are longer than what windows share


@pytest.mark.parametrize(
    ("found", "right", "f1"),
    [("a pot of tea", "A pot of tea.", 1.0), ("a pot", "a pot of tea", 2 * 2 / 6), ("water", "a pot of tea", 0.0)],
)
def test_agreement_is_the_f1_of_words(example: Callable[[str], ModuleType], found: str, right: str, f1: float) -> None:
    assert example("answer").agreement(found, right) == pytest.approx(f1)
