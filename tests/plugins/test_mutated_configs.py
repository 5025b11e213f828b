"""Configurations with random changes: the numbers of transformers, or an error that names the cause."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import registry
from registry.errors import RegistryError
from registry.zoo import BertConfig, GPT2Config

IDS = torch.tensor([[2, 60, 61, 3], [2, 5, 0, 0]])
VALUES: list[Any] = [None, True, False, 0, 1, -1, 2, 3, 16, 0.5, "", "gelu", "relu", "mish", [], ["a", "b", "c"], {}]
VALUES += [{"0": "a"}, {"a": 0}, {"0": 0, "1": 1, "2": 2}, {"1": "a", "2": "b", "3": "c"}]
BERT = {
    "vocab_size": 65,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "num_labels": 3,
}
GPT2 = {"vocab_size": 65, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("config", "model", "ours", "task"),
    [
        (transformers.BertConfig(**BERT), transformers.BertForSequenceClassification, BertConfig, None),
        (transformers.GPT2Config(**GPT2), transformers.GPT2LMHeadModel, GPT2Config, "causal-lm"),
    ],
    ids=["bert", "gpt2"],
)
def test_250_changes_give_the_same_numbers_or_an_error(
    tmp_path: Path, config: Any, model: Any, ours: Any, task: str | None
) -> None:
    torch.manual_seed(0)
    model(config).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    published = json.loads(path.read_text())
    keys = sorted({*published, *ours.keys(), "_num_labels", "label2id"} - {"transformers_version"})
    rng = random.Random(0)
    both, errors = 0, []
    for _ in range(250):
        changes = {rng.choice(keys): rng.choice(VALUES) for _ in range(rng.choice([1, 1, 2]))}
        path.write_text(json.dumps({**published, **changes}))
        try:
            found = registry.load_model(tmp_path, task or "sequence-classification")(IDS, return_dict=True).logits
        except RegistryError as problem:
            errors.append(str(problem))
            continue
        try:
            expected = model.from_pretrained(tmp_path).eval()(IDS, return_dict=True).logits
        except Exception:  # whatever it is that transformers does not read
            continue
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=str(changes))
        both += 1
    assert both > 20
    assert [message for message in errors if str(tmp_path) not in message] == []
