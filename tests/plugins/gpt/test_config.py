import json
from pathlib import Path
from typing import Any

import pytest

import registry
from plugins.gpt.config import OpenAIGPTConfig
from plugins.gpt.tokenization import OpenAIGPTTokenizer
from registry.errors import ConfigError, VocabError
from registry.tokenization.load import check_fit

PUBLISHED: dict[str, Any] = {
    "afn": "gelu",
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "n_ctx": 512,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 512,
    "n_special": 0,
    "resid_pdrop": 0.1,
    "vocab_size": 40478,
}
LATER = {**PUBLISHED, "model_type": "openai-gpt", "predict_special_tokens": True, "summary_type": "cls_index"}


@pytest.mark.parametrize("filename", ["config.json", "openai_gpt_config.json"])
@pytest.mark.parametrize("keys", [PUBLISHED, LATER], ids=["2018", "hub"])
def test_every_published_file_is_the_default_configuration(keys: dict[str, Any], filename: str, tmp_path: Path) -> None:
    (tmp_path / filename).write_text(json.dumps(keys))
    found = registry.load_config(tmp_path)
    assert found == OpenAIGPTConfig()
    assert all(found.to_dict()[key] == value for key, value in keys.items())


@pytest.mark.parametrize(
    ("key", "value"),
    [("afn", "mish"), ("n_head", 7), ("n_special", -1), ("summary_type", "first"), ("tie_word_embeddings", False)],
)
def test_what_would_give_other_numbers_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        OpenAIGPTConfig.from_dict({**PUBLISHED, key: value})


def test_special_tokens_of_a_tokenizer_fit_a_model_that_embeds_them() -> None:
    class Tokenizer(OpenAIGPTTokenizer):
        def __init__(self) -> None:
            """No files."""

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0, "_start_": 10}

        def convert_ids_to_tokens(self, number: int) -> str:
            return "_start_"

    check_fit(Tokenizer(), OpenAIGPTConfig(vocab_size=10, n_special=1))
    with pytest.raises(VocabError, match=r"embeds 10 tokens"):
        check_fit(Tokenizer(), OpenAIGPTConfig(vocab_size=10))
