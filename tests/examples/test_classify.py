"""A small run of classify.py."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

import registry


@pytest.fixture
def few(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave few modules for each topic, which are read in no time."""
    classify = example("classify")
    few = {topic: modules[:1] for topic, modules in classify.TOPICS.items()} | {"drawing": ("turtle",)}
    monkeypatch.setattr(classify, "TOPICS", few | {"numbers": ("statistics",), "testing": ("pdb",)})


@pytest.mark.usefixtures("few")
def test_it_trains_saves_loads_and_predicts(run: Callable[..., str], tiny_bert: Path, tmp_path: Path) -> None:
    printed = run("classify", tmp_path / "out", "--model", tiny_bert, "--steps", 2, "--batch-size", 2)
    assert "accuracy on" in printed
    assert "Draw a circle" in printed
    saved = registry.load(tmp_path / "out" / "model")
    assert type(saved.model).__name__ == "BertForSequenceClassification"
    assert saved.config.id2label[3] == "mail"
    assert run("classify", tmp_path / "out", "--model", tiny_bert, "--steps", 2) == printed  # it only predicts now


def test_a_file_of_texts_with_labels_is_learnt(run: Callable[..., str], tiny_bert: Path, tmp_path: Path) -> None:
    rows = [(f"the cat {word}", "animal") for word in "abcdefgh"] + [(f"Paris {word}", "place") for word in "abcdefgh"]
    data = tmp_path / "data.csv"
    data.write_text("label,text\n" + "".join(f'{label},"{text}"\n' for text, label in rows), "utf-8-sig")
    printed = run("classify", tmp_path / "out", "--model", tiny_bert, "--steps", 3, "--data", data)
    assert "Trained on 15 texts; accuracy on 1 others" in printed
    assert registry.load_config(tmp_path / "out" / "model").id2label == {0: "animal", 1: "place"}
    log = (tmp_path / "out" / "log.csv").read_text().splitlines()
    assert log[0] == "step,loss,validation"
    assert len(log) == 4
    assert float(log[3].split(",")[2]) > 0


@pytest.mark.usefixtures("few")
def test_a_sentence_has_the_topic_of_its_module(example: Callable[[str], ModuleType]) -> None:
    classify = example("classify")
    topics = dict(classify.examples(Random(0)))
    assert topics["Return the square root of the population variance."] == "numbers"
    assert topics["Arrange for a callback to be called at a given time."] == "concurrency"
