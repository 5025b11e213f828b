"""GPT and GPT-2 as classifiers of texts and of tokens: names, logits and losses are those of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import InputError
from registry.nn.heads import last_tokens
from registry.zoo import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    OpenAIGPTConfig,
    OpenAIGPTForSequenceClassification,
    TransfoXLConfig,
    TransfoXLForSequenceClassification,
)

PAD = 0
SIZES: dict[str, Any] = {"vocab_size": 23, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}
CLASSES = (GPT2ForSequenceClassification, OpenAIGPTForSequenceClassification)
IDS = torch.tensor([[3, 7, 9, 2, 5], [4, 6, 8, PAD, PAD], [1, PAD, PAD, PAD, PAD], [9, PAD, 8, 7, PAD]])
MASK = (torch.tensor([5, 3, 1, 4])[:, None] > torch.arange(5)).long()
"""Padding behind each text; one text has the token of padding inside."""


def make(cls: Any, **fields: Any) -> Any:
    """A model whose every parameter matters."""
    torch.manual_seed(0)
    config = (GPT2Config if cls.__name__.startswith("GPT2") else OpenAIGPTConfig)(**SIZES, **fields)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "model"


def labels_of(kind: str | None, classes: int) -> Tensor:
    if kind == "multi_label_classification":
        return (torch.arange(4 * classes) % 3 == 0).float().view(4, classes)
    if kind == "regression" or classes == 1:
        return torch.linspace(-1, 2, 4 * classes).view(4, classes).squeeze(-1)
    return torch.arange(4) % classes


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("kind", "classes"),
    [(None, 1), (None, 3), ("regression", 3), ("single_label_classification", 3), ("multi_label_classification", 3)],
)
def test_texts_are_classified_as_transformers_does(cls: Any, kind: str | None, classes: int, saved: Path) -> None:
    ours = make(cls, num_labels=classes, problem_type=kind, pad_token_id=PAD)
    registry.save(ours, saved)
    theirs, info = getattr(transformers, cls.__name__).from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    assert set(theirs.state_dict()) == set(ours.state_dict())
    labels = labels_of(kind, classes)
    expected = theirs.eval()(IDS, attention_mask=MASK, labels=labels)
    for mask in (MASK, None):
        found = ours(IDS, attention_mask=mask, labels=labels)
        assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
        assert_close(found.loss, expected.loss, atol=1e-6, rtol=1e-6)
    theirs.save_pretrained(saved.with_name("theirs"))
    again = registry.load_model(saved.with_name("theirs"))
    assert type(again) is cls
    assert_close(again(IDS, attention_mask=MASK).logits, expected.logits, atol=1e-5, rtol=0)


def test_tokens_are_classified_as_transformers_does(saved: Path) -> None:
    ours = make(GPT2ForTokenClassification, num_labels=3)
    registry.save(ours, saved)
    theirs, info = transformers.GPT2ForTokenClassification.from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    labels = torch.where(MASK == 1, IDS % 3, -100)
    expected = theirs.eval()(IDS, attention_mask=MASK, labels=labels)
    found = ours(IDS, attention_mask=MASK, labels=torch.where(MASK == 1, labels, 1))  # padding is ignored
    assert_close(found.logits[MASK == 1], expected.logits[MASK == 1], atol=1e-5, rtol=0)
    assert (found.logits[MASK == 0] == 0).all()
    assert_close(found.loss, expected.loss, atol=1e-6, rtol=1e-6)
    assert ours.dropout.p == theirs.dropout.p == 0.1
    assert make(GPT2ForTokenClassification, classifier_dropout=0.3).dropout.p == 0.3


def test_the_last_token_is_neither_masked_nor_padding() -> None:
    assert last_tokens(IDS).tolist() == [4, 4, 4, 4]
    assert last_tokens(IDS, MASK).tolist() == [4, 2, 0, 3]
    assert last_tokens(IDS, None, PAD).tolist() == [4, 2, 0, 3]
    assert last_tokens(IDS.flip(1), MASK.flip(1), PAD).tolist() == [4, 4, 4, 4]
    assert last_tokens(torch.zeros(1, 3, dtype=torch.long), None, PAD).tolist() == [0]
    longer = torch.cat([torch.ones_like(MASK), MASK], dim=1)
    assert last_tokens(IDS, longer, PAD).tolist() == [4, 2, 0, 3]


@pytest.mark.parametrize("cls", CLASSES)
def test_padding_on_either_side_changes_nothing(cls: Any) -> None:
    model = make(cls)
    alone = torch.cat([model(IDS[row : row + 1, : MASK[row].sum()]).logits for row in range(4)])
    assert_close(model(IDS, attention_mask=MASK).logits, alone, atol=1e-5, rtol=0)
    left = torch.stack([row.roll(5 - int(mask.sum())) for row, mask in zip(IDS, MASK, strict=True)])
    assert_close(model(left, attention_mask=MASK.flip(1)).logits, alone, atol=1e-5, rtol=0)


def test_transformer_xl_knows_several_labels_and_the_token_of_padding() -> None:
    torch.manual_seed(0)
    config = TransfoXLConfig(
        vocab_size=23, cutoffs=(), d_model=8, d_embed=8, n_head=2, d_head=4, d_inner=8, n_layer=1, num_labels=3,
        problem_type="multi_label_classification", pad_token_id=PAD,
    )  # fmt: skip
    model = TransfoXLForSequenceClassification(config).eval()
    labels = labels_of("multi_label_classification", 3)
    found = model(IDS, labels=labels)
    hidden = model.transformer(IDS).last_hidden_state[range(4), [4, 2, 0, 3]]
    assert_close(found.logits, hidden @ model.score.weight.T)
    assert_close(found.loss, torch.nn.functional.binary_cross_entropy_with_logits(found.logits, labels))


def test_ids_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(batch, tokens\), not \(1, 4, 5\)"):
        make(GPT2ForSequenceClassification)(IDS[None])
