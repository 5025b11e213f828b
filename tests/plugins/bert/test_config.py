"""Odd configurations of BERT: the numbers of transformers, or a refusal that one keyword answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import registry
from registry.config.fields import ACTIVATIONS
from registry.errors import ConfigError
from registry.nn.activations import ACTIVATION_FUNCTIONS

TINY = {
    "vocab_size": 65,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
IDS = torch.tensor([[2, 60, 61, 3], [2, 5, 0, 0]])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A classifier that transformers made and saved."""
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**TINY, num_labels=3))
    model.save_pretrained(tmp_path)
    return tmp_path


def edited(path: Path, drop: tuple[str, ...] = (), **keys: Any) -> Path:
    text = json.loads((path / "config.json").read_text())
    text = {key: value for key, value in {**text, **keys}.items() if key not in drop}
    (path / "config.json").write_text(json.dumps(text))
    return path


def logits_of_reference(path: Path) -> torch.Tensor:
    with torch.inference_mode():
        model = transformers.BertForSequenceClassification.from_pretrained(path).eval()
        found: torch.Tensor = model(IDS, return_dict=True).logits
    return found


def logits(path: Path, **overrides: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = registry.load_model(path, **overrides)(IDS).logits
    return found


@pytest.mark.parametrize(
    "keys",
    [
        {"pad_token_id": None},
        {"pad_token_id": -1},
        {"pad_token_id": 7},
        {"classifier_dropout": None},
        {"pruned_heads": {}},
        {"_num_labels": 3},
        {"_num_labels": 2},
        {"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {"id2label": {"0": 0, "1": 1, "2": 2}, "label2id": {"0": 0, "1": 1, "2": 2}},
        {"id2label": {"0": 0.0, "1": 0.5, "2": 1.0}},
        {"id2label": {"0": "x", "1": "x", "2": "y"}, "label2id": {"x": 1, "y": 2}},
        {"output_attentions": True, "output_hidden_states": True},
        {"torch_dtype": "float16"},
        {"output_past": True, "torchscript": False, "use_bfloat16": False, "finetuning_task": "mrpc"},
        {"directionality": "bidi", "pooler_type": "first_token_transform", "gradient_checkpointing": True},
    ],
)
def test_an_odd_file_gives_the_numbers_of_transformers(saved: Path, keys: dict[str, Any]) -> None:
    edited(saved, **keys)
    torch.testing.assert_close(logits(saved), logits_of_reference(saved), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:id2label numbers 3 labels")
@pytest.mark.parametrize("names", [{"1": "a", "2": "b", "3": "c"}, {"0": "a", "1": "b", "3": "c"}])
def test_labels_with_gaps_give_the_numbers_of_transformers(saved: Path, names: dict[str, str]) -> None:
    edited(saved, id2label=names, drop=("label2id",))
    torch.testing.assert_close(logits(saved), logits_of_reference(saved), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_the_function_of_transformers(name: str) -> None:
    x = torch.linspace(-20, 20, 4001)
    reference = transformers.activations.ACT2FN[name]
    torch.testing.assert_close(ACTIVATION_FUNCTIONS[name](x), reference(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gelu_python", "gelu_fast", "quick_gelu", "mish", "linear"])
def test_a_model_with_another_activation_gives_the_numbers_of_transformers(saved: Path, name: str) -> None:
    edited(saved, hidden_act=name)
    torch.testing.assert_close(logits(saved), logits_of_reference(saved), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("is_decoder", True, False),
        ("position_embedding_type", "relative_key", "absolute"),
        ("hidden_act", "GELU", "gelu"),
        ("layer_norm_eps", "1e-12", 1e-12),
        ("hidden_size", 16.0, 16),
        ("hidden_dropout_prob", None, 0.1),
        ("attention_probs_dropout_prob", None, 0.1),
    ],
)
def test_what_would_change_the_numbers_is_refused_and_opened_by_one_keyword(
    saved: Path, key: str, value: object, meant: object
) -> None:
    expected = logits_of_reference(saved)
    edited(saved, **{key: value})
    with pytest.raises(ConfigError, match=f"{key} must be"):
        registry.load_model(saved)
    torch.testing.assert_close(logits(saved, **{key: meant}), expected, atol=1e-5, rtol=1e-5)


def test_what_was_read_of_an_odd_file_is_read_by_transformers_again(saved: Path, tmp_path: Path) -> None:
    edited(saved, pad_token_id=-1, hidden_act="gelu_python", num_labels=3, id2label={"0": "LABEL_0"})
    expected = logits(saved)
    again = registry.save(registry.load_model(saved), tmp_path / "again")
    torch.testing.assert_close(logits_of_reference(again), expected, atol=1e-5, rtol=1e-5)
