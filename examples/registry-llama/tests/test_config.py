"""Configurations of Llama, as published files have had them since 2023."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import transformers

import registry
from registry.errors import ConfigError
from registry_llama.config import LlamaConfig

LLAMA_3 = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 5632,
    "max_position_embeddings": 2048,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.35.0",
    "use_cache": True,
    "vocab_size": 32000,
}
LLAMA_3_2 = {
    **TINY_LLAMA,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64,
    "max_position_embeddings": 131072,
    "num_key_value_heads": 8,
    "rope_scaling": LLAMA_3,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
OF_TRANSFORMERS_5 = {
    **{key: value for key, value in LLAMA_3_2.items() if not key.startswith("rope")},
    "rope_parameters": {**LLAMA_3, "rope_theta": 500000.0},
}


def read(keys: dict[str, Any], folder: Path) -> LlamaConfig:
    (folder / "config.json").write_text(json.dumps(keys))
    config = registry.load_config(folder)
    assert isinstance(config, LlamaConfig)
    return config


@pytest.mark.parametrize("keys", [TINY_LLAMA, LLAMA_3_2], ids=["TinyLlama", "Llama 3.2"])
def test_a_published_file_comes_back_with_every_key(keys: dict[str, Any], tmp_path: Path) -> None:
    config = read(keys, tmp_path)
    written = json.loads(config.to_json_string())
    about_the_file = ("architectures", "torch_dtype", "transformers_version", "use_cache")  # the last has its default
    assert all(written[key] == value for key, value in keys.items() if key not in about_the_file)
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), LlamaConfig.from_dict(written)):
        assert twin == config
        assert twin.extra == config.extra


def test_files_of_transformers_5_say_the_same(tmp_path: Path) -> None:
    assert read(OF_TRANSFORMERS_5, tmp_path) == LlamaConfig.from_dict(LLAMA_3_2)
    plain = {**OF_TRANSFORMERS_5, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
    assert read(plain, tmp_path) == LlamaConfig.from_dict({**LLAMA_3_2, "rope_scaling": None})


@pytest.mark.parametrize("keys", [TINY_LLAMA, LLAMA_3_2, OF_TRANSFORMERS_5], ids=["TinyLlama", "Llama 3.2", "5"])
def test_transformers_reads_what_we_write(keys: dict[str, Any], tmp_path: Path) -> None:
    LlamaConfig.from_dict(keys).to_json_file(tmp_path / "config.json")
    found = transformers.LlamaConfig.from_pretrained(tmp_path)
    expected = transformers.LlamaConfig(**{key: value for key, value in keys.items() if key != "model_type"})
    assert found.rope_parameters == expected.rope_parameters
    for key in ("vocab_size", "num_key_value_heads", "head_dim", "eos_token_id", "tie_word_embeddings"):
        assert getattr(found, key) == getattr(expected, key), key


def test_sizes_follow_from_each_other() -> None:
    config = LlamaConfig(hidden_size=24, num_attention_heads=4, intermediate_size=40)
    assert (config.head_width, config.key_value_heads) == (6, 4)
    assert LlamaConfig(hidden_size=24, num_attention_heads=5, head_dim=8).head_width == 8
    assert hash(config) == hash(config.replace())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"num_attention_heads": 7, "num_key_value_heads": 7},
            r"heads \(7\) must divide hidden_size",
        ),
        ({"num_key_value_heads": 5}, r"num_key_value_heads \(5\) must divide num_attention_heads \(32\)"),
        ({"head_dim": 7}, r"7 features \(head_dim\), where an even number is needed"),
        ({"num_attention_heads": "32"}, "num_attention_heads must be a whole number"),
        ({"hidden_size": 2048.5}, "hidden_size must be a whole number"),
        ({"hidden_act": "prelu"}, "hidden_act must be one of"),
        ({"attention_bias": 1}, "attention_bias must be one of False, True"),
        ({"rope_theta": -1.0}, "rope_theta must be a number from 0"),
        ({"eos_token_id": 32000}, "eos_token_id must be an id below vocab_size"),
        ({"eos_token_id": [2, "x"]}, "eos_token_id must be an id below vocab_size"),
        ({"bos_token_id": True}, "bos_token_id must be an id below vocab_size"),
        ({"rope_scaling": "linear"}, "rope_scaling must be an object with a rope_type"),
        (
            {"rope_scaling": {"type": "longrope", "factor": 2.0}},
            "kind 'longrope'; understood are default",
        ),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_slow": 0}}, "number above 0 as beta_slow, not 0"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": 1}},
            "truncate must be true or false, not 1",
        ),
        ({"rope_scaling": {"type": "linear"}}, "needs a number above 0 as factor, not None"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "needs a number above 0 as factor, not 0"),
        ({"rope_scaling": {**LLAMA_3, "high_freq_factor": 1.0}}, "high_freq_factor must be above low_freq_factor"),
        ({"rope_scaling": {**LLAMA_3, "beta_fast": 32}}, "has beta_fast, which is not understood"),
        ({"rope_scaling": {**LLAMA_3, "partial_rotary_factor": 0.5}}, "has partial_rotary_factor, which is not"),
        ({"num_hidden_layers": 9999, "hidden_size": 8192}, "describes a model of"),
    ],
)
def test_what_would_give_other_numbers_is_refused(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=fault):
        read({**TINY_LLAMA, **changes}, tmp_path)
