"""Configurations of GPT-2, as its files have had them since 2019, and which files are of GPT instead."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import registry
from plugins.gpt2.config import GPT2Config
from registry.errors import ArchitectureMismatchError, ConfigError

FIRST: dict[str, Any] = {  # the eight keys of the first published file
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
DROPOUT = {"attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1}
SECOND = {**FIRST, **DROPOUT, "n_special": 0, "predict_special_tokens": True}
GPT = {**FIRST, **DROPOUT, "n_special": 0, "afn": "gelu"}
HUB = {
    **FIRST,
    **DROPOUT,
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "model_type": "gpt2",
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}


def write(folder: Path, keys: dict[str, Any], filename: str = "config.json") -> Path:
    (folder / filename).write_text(json.dumps(keys))
    return folder


@pytest.mark.parametrize("keys", [FIRST, SECOND, HUB], ids=["2019-02", "2019-06", "hub"])
def test_every_published_file_is_the_default_configuration(keys: dict[str, Any], tmp_path: Path) -> None:
    found = registry.load_config(write(tmp_path, keys))
    assert found == GPT2Config()
    written = found.to_dict()
    assert all(written[key] == value for key, value in keys.items() if key != "architectures")


@pytest.mark.parametrize(
    ("keys", "architecture"),
    [(FIRST, "gpt2"), (SECOND, "gpt2"), (GPT, "gpt"), ({"afn": "gelu", **FIRST}, "gpt")],
)
def test_files_without_model_type_are_told_apart(keys: dict[str, Any], architecture: str, tmp_path: Path) -> None:
    assert registry.load_config(write(tmp_path, keys)).architecture == architecture
    other = registry.zoo.OpenAIGPTConfig if architecture == "gpt2" else GPT2Config
    with pytest.raises(ArchitectureMismatchError, match=architecture):
        other.from_pretrained(tmp_path)


def test_the_older_name_of_the_file_is_found(tmp_path: Path) -> None:
    assert registry.load_config(write(tmp_path, FIRST, "gpt2_config.json")) == GPT2Config()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("summary_type", "last"),
        ("summary_activation", "tanh"),
        ("activation_function", "prelu"),
        ("n_head", 7),
        ("n_inner", 0),
        ("n_positions", 0),
        ("attn_pdrop", 1.5),
    ],
)
def test_what_would_give_other_numbers_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        GPT2Config.from_dict({**HUB, key: value})


def test_sizes_follow_from_each_other() -> None:
    assert GPT2Config(n_positions=64).n_ctx == 64
    assert GPT2Config(n_embd=24).inner_width == 96
    assert GPT2Config(n_embd=24, n_inner=5).inner_width == 5
    assert GPT2Config(vocab_size=10, n_special=2).total_tokens_embeddings == 12
    assert pickle.loads(pickle.dumps(GPT2Config(n_embd=24))) == GPT2Config(n_embd=24)


def test_the_general_names_of_sizes_give_the_numbers_of_transformers(tmp_path: Path) -> None:
    sizes = {"vocab_size": 80, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    reference = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    reference.save_pretrained(tmp_path)
    keys = json.loads((tmp_path / "config.json").read_text())
    for ours, theirs in GPT2Config.general_names.items():
        keys[ours] = keys.pop(theirs)
    keys.pop("n_ctx", None)
    write(tmp_path, {**keys, "activation_function": "gelu_fast", "eos_token_id": None})
    ids = torch.tensor([[2, 60, 61, 3]])
    with torch.inference_mode():
        found, expected = registry.load_model(tmp_path)(ids).logits, reference(ids).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
