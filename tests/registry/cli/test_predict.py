"""``registry predict`` and ``tokenize``: what trained heads and tokenizers say, against the library's own numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from plugins.bert.config import BertConfig
from plugins.bert.finetuning import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from plugins.bert.tokenization import BertTokenizer

TEXTS = ["the cat sat on the mat.", "the dog sat."]


@pytest.fixture
def saved(tmp_path: Path, sizes: dict[str, int], bert_tokenizer: BertTokenizer) -> Any:
    """Saves a model of a class with random, but far from uniform weights."""

    def save(cls: Any, **fields: Any) -> Path:
        torch.manual_seed(1)
        model = cls(BertConfig(**sizes, **fields)).eval()
        model.init_weights()
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        return registry.save(model, tmp_path / cls.__name__, tokenizer=bert_tokenizer)

    return save


def test_texts_are_classified_with_the_softmax_of_the_scores(saved: Any, run: Any) -> None:
    directory = saved(BertForSequenceClassification, id2label={0: "good", 1: "bad", 2: "odd"})
    found = json.loads(run("predict", directory, *TEXTS, "--json").stdout)
    loaded = registry.load(directory)
    with torch.inference_mode():
        logits = loaded.model(**loaded.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    for answer, row in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.tensor(list(answer["probabilities"].values())), row)
        assert answer["label"] == ("good", "bad", "odd")[int(row.argmax())]
    lines = run("predict", directory, *TEXTS, "--top", 2).stdout.splitlines()
    assert len(lines) == 5
    assert lines[1].split()[0] == found[0]["label"]
    piped = run("predict", directory, "--json", input="\n".join(TEXTS))
    assert json.loads(piped.stdout) == found, "lines of stdin are texts"


def test_several_labels_and_numbers_are_what_the_problem_type_says(saved: Any, run: Any) -> None:
    directory = saved(BertForSequenceClassification, num_labels=3, problem_type="multi_label_classification")
    (answer,) = json.loads(run("predict", directory, TEXTS[0], "--json").stdout)
    assert answer["labels"] == [label for label, p in answer["probabilities"].items() if p >= 0.5]
    assert sum(answer["probabilities"].values()) != pytest.approx(1)
    directory = saved(BertForSequenceClassification, num_labels=1)
    (answer,) = json.loads(run("predict", directory, TEXTS[0], "--json").stdout)
    loaded = registry.load(directory)
    with torch.inference_mode():
        value = loaded.model(**loaded.tokenizer(TEXTS[:1], return_tensors="pt")).logits.item()
    assert answer == {"text": TEXTS[0], "value": pytest.approx(value)}


def test_consecutive_words_of_one_label_are_a_span(saved: Any, run: Any) -> None:
    from registry.bulk.predictions import _spans

    text = "Ada Lovelace met Charles in London ."
    labels = ["B-PER", "I-PER", "O", "B-PER", "O", "I-LOC", "O"]
    starts = [0, 4, 13, 17, 25, 28, 35]
    words = [
        {"start": start, "end": start + len(word), "label": label, "probability": 0.9 - start / 100}
        for start, word, label in zip(starts, text.split(), labels, strict=True)
    ]
    spans = _spans(text, words, merges=True)
    assert [(span["label"], span["text"]) for span in spans] == [
        ("PER", "Ada Lovelace"),
        ("PER", "Charles"),
        ("LOC", "London"),
    ]
    assert spans[0]["probability"] == pytest.approx(0.86)
    directory = saved(BertForTokenClassification, id2label={0: "O", 1: "THING"})
    (answer,) = json.loads(run("predict", directory, TEXTS[0], "--json").stdout)
    assert all(TEXTS[0][span["start"] : span["end"]] == span["text"] for span in answer["spans"])


def test_an_answer_is_the_best_span_of_the_text(saved: Any, run: Any) -> None:
    directory = saved(BertForQuestionAnswering)
    (answer,) = json.loads(run("predict", directory, TEXTS[0], "--question", "the cat?", "--json").stdout)
    loaded = registry.load(directory)
    batch = loaded.tokenizer(["the cat?"], [TEXTS[0]], return_offsets_mapping=True, return_tensors="pt")
    offsets = batch.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        out = loaded.model(**batch)
    inside = [i for i, s in enumerate(batch.sequence_ids(0)) if s == 1]
    best = max(
        ((i, j) for i in inside for j in inside if i <= j),
        key=lambda ij: float(out.start_logits[0, ij[0]] + out.end_logits[0, ij[1]]),
    )
    assert (answer["start"], answer["end"]) == (offsets[best[0]][0], offsets[best[1]][1])
    assert answer["answer"] == TEXTS[0][answer["start"] : answer["end"]]
    long = " ".join(TEXTS * 5)
    (answer,) = json.loads(run("predict", directory, long, "--question", "cat?", "--json").stdout)
    assert long[answer["start"] : answer["end"]] == answer["answer"] != ""


def test_models_for_other_tasks_are_refused_before_anything_is_read(masked_lm: Path, saved: Any, run: Any) -> None:
    result = run("predict", masked_lm, "a text")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "is a model for 'masked-lm'" in result.stderr
    directory = saved(BertForQuestionAnswering)
    assert run("predict", directory, "a text").exit_code == 2
    assert run("predict", directory).exit_code == 2, "no text"


# --- tokenize ---------------------------------------------------------------------------------------------------------


def test_tokens_are_shown_with_ids_and_offsets(encoder: Path, bert_tokenizer: BertTokenizer, run: Any) -> None:
    text = "the cat sat."
    ((found),) = json.loads(run("tokenize", encoder, text, "--json").stdout)
    tokens = found["tokens"]
    assert [token["id"] for token in tokens] == bert_tokenizer.encode(text)
    assert [token["text"] for token in tokens] == ["", "the", "cat", "sat", ".", ""]
    assert all(token["start"] is None or text[token["start"] : token["end"]] == token["text"] for token in tokens)
    lines = run("tokenize", encoder, text).stdout.splitlines()
    assert lines[0].endswith("6 tokens  [CLS]|the|cat|sat|.|[SEP]")
    assert lines[4].split() == ["cat", str(bert_tokenizer.vocab["cat"]), "4", "7", "cat"]
    assert "[CLS]" not in run("tokenize", encoder, text, "--no-special").stdout


def test_tokens_of_several_models_stand_below_each_other(encoder: Path, writer: Path, run: Any) -> None:
    lines = run("tokenize", encoder, "the cat", "-c", writer).stdout.splitlines()
    assert lines[0].rpartition("tokens")[2].strip() == "[CLS]|the|cat|[SEP]"
    assert lines[1].rpartition("tokens")[2].strip() == "t|h|e|Ġ|c|a|t"
    assert len(lines) == 2
