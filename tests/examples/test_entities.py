"""A small run of entities.py, and its marks."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

import registry


def test_it_trains_saves_loads_and_finds(run: Callable[..., str], tiny_bert: Path, tmp_path: Path) -> None:
    printed = run("entities", tmp_path / "out", "--model", tiny_bert, "--steps", 2, "--batch-size", 2)
    assert "entity-level F1" in printed
    assert type(registry.load(tmp_path / "out" / "model").model).__name__ == "BertForTokenClassification"


def test_marks_are_read_whole(example: Callable[[str], ModuleType]) -> None:
    entities = example("entities")
    sentences = dict(entities.sentences())
    text = "Marie Curie was born in Warsaw and worked in Paris."
    named = [(text[start:end], kind) for start, end, kind in sentences[text]]
    assert named == [("Marie Curie", "person"), ("Warsaw", "place"), ("Paris", "place")]
    assert not any(sign in text for text in sentences for sign in "[]()")
    assert {entity.kind for found in sentences.values() for entity in found} == set(entities.KINDS[1:])


def test_what_is_labelled_is_found_again(example: Callable[[str], ModuleType]) -> None:
    """With a model that gives the labels themselves, what is found are the entities that were marked."""
    entities = example("entities")
    tokenizer = registry.load_tokenizer("all-minilm-l6-v2")
    known = entities.sentences()[:30]
    texts, marked = [text for text, _ in known], [found for _, found in known]
    batch = tokenizer(texts, padding=True, return_offsets_mapping=True, return_tensors="pt")
    right = entities.labels(batch, marked).clamp(min=0)

    class Oracle:
        logits = torch.nn.functional.one_hot(right, len(entities.KINDS))

        def __call__(self, **batch: torch.Tensor) -> "Oracle":
            return self

    assert entities.find(Oracle(), tokenizer, texts) == marked
