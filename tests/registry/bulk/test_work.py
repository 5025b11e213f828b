"""Functions of columns, beside the doors that compute the same for texts in memory."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import registry
from plugins.bert.finetuning import BertForSequenceClassification, BertForTokenClassification
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.bulk import Classifier, Embedder, Perplexity, Tagger
from registry.errors import InputError, UnknownTaskError
from registry.tokenization.byte_level import bytes_to_unicode


def test_vectors_are_those_of_embed_and_other_columns_are_passed_through(bert: Path, texts: list[str]) -> None:
    found = Embedder(str(bert), column="body")({"id": range(len(texts)), "body": texts})
    assert set(found) == {"id", "body", "vector"}
    assert found["id"] == range(len(texts))
    np.testing.assert_allclose(found["vector"], registry.load(bert, "base").embed(texts).numpy(), atol=1e-6)


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_a_batch_has_so_many_tokens_with_padding_at_most(bert: Path, texts: list[str], tokens: int) -> None:
    work = Embedder(str(bert), tokens_per_batch=tokens)
    shapes: list[tuple[int, int]] = []
    hook = work.loaded.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    vectors = work({"text": texts})["vector"]
    hook.remove()
    assert sum(batch for batch, _ in shapes) == len(set(texts))
    assert all(batch == 1 or batch * longest <= tokens for batch, longest in shapes)
    np.testing.assert_allclose(vectors, registry.load(bert, "base").embed(texts).numpy(), atol=1e-6)


def test_equal_texts_are_computed_once(bert: Path, texts: list[str]) -> None:
    work = Embedder(str(bert))
    rows: list[int] = []
    hook = work.loaded.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    vectors = work({"text": [*texts, *reversed(texts)]})["vector"]
    hook.remove()
    assert sum(rows) == len(set(texts))
    expected = registry.load(bert, "base").embed(texts).numpy()
    np.testing.assert_allclose(vectors, np.concatenate([expected, expected[::-1]]), atol=1e-6)


def test_columns_of_numpy_as_ray_gives_them_do_as_well(bert: Path, texts: list[str]) -> None:
    work = Embedder(str(bert), normalize=True)
    found = work({"text": np.array(texts, dtype=object)})["vector"]
    np.testing.assert_array_equal(found, work({"text": texts})["vector"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_what_is_pickled_is_the_name_and_the_options(bert: Path, texts: list[str]) -> None:
    work = Embedder(str(bert))
    vectors = work({"text": texts[:3]})["vector"]
    assert len(pickle.dumps(work)) < 1000
    for other in (pickle.loads(pickle.dumps(work)), copy.deepcopy(work)):
        assert other == work
        np.testing.assert_array_equal(other({"text": texts[:3]})["vector"], vectors)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"body": ["a"]}, "there is no column 'text', only 'body'"),
        ({"text": ["a", None]}, "row 2 of 'text' is not text: None"),
    ],
)
def test_columns_that_do_not_fit_are_named(bert: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Embedder(str(bert))(columns)


def test_a_budget_of_no_tokens_is_refused(bert: Path) -> None:
    with pytest.raises(InputError, match="tokens_per_batch must be at least 1, not 0"):
        Embedder(str(bert), tokens_per_batch=0)


def test_perplexities_are_those_of_each_text_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    letters = GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])
    config = GPT2Config(vocab_size=256, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    registry.save(GPT2LMHeadModel(config).eval(), tmp_path / "model", tokenizer=letters)
    model = registry.load_model(tmp_path / "model")
    texts = ["abc abc abc", "a", "", "cab"]
    found = Perplexity(str(tmp_path / "model"))({"text": texts})["perplexity"]
    assert found[1:3] == [None, None]
    for number in (0, 3):
        ids = torch.tensor([letters.encode(texts[number])])
        with torch.inference_mode():
            loss = cross_entropy(model(ids).logits[0, :-1], ids[0, 1:])
        assert found[number] == pytest.approx(loss.exp().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("work", "cls", "keys"),
    [
        (Classifier, BertForSequenceClassification, {"label", "probability", "probabilities"}),
        (Tagger, BertForTokenClassification, {"spans"}),
    ],
)
def test_predictions_are_those_of_each_text_alone(
    work: Any, cls: Any, keys: set[str], bert: Path, texts: list[str], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    tokenizer = registry.load_tokenizer(bert)
    model = cls(registry.load_config(bert), num_labels=3).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # far from uniform
    registry.save(model, tmp_path / "model", tokenizer=tokenizer)
    some = [text for text in texts if text.strip()][:20]
    found = work(str(tmp_path / "model"), tokens_per_batch=64)({"text": some})["prediction"]
    assert [set(answer) for answer in found] == [keys] * len(some)
    for text, answer in zip(some, found, strict=True):
        inputs = tokenizer([text], return_tensors="pt", truncation=True, max_length=32)
        with torch.inference_mode():
            probabilities = model(**inputs).logits[0].softmax(-1)
        if work is Classifier:
            assert answer["label"] == f"LABEL_{int(probabilities.argmax())}"
            assert answer["probability"] == pytest.approx(float(probabilities.max()), abs=1e-5)
        else:
            first = answer["spans"][0]
            assert first["label"] == f"LABEL_{int(probabilities[1].argmax())}"
            assert first["text"] == text[first["start"] : first["end"]]


def test_a_head_that_was_not_trained_is_an_error(bert: Path) -> None:
    with pytest.raises(UnknownTaskError, match=r"not for 'sequence-classification': classifier\."):
        Classifier(str(bert))({"text": ["a"]})
