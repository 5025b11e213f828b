"""transformers' pipelines with models and tokenizers of the registry, against those with its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close

import registry
from registry.integrations.pipelines import pipeline
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

pytestmark = pytest.mark.integrations

VOCABULARIES = Path(__file__).parents[1] / "fixtures" / "vocabularies"
TEXTS = ["the cat sat on the mat", "a dog"]
TASKS: dict[str, type] = {
    "fill-mask": BertForMaskedLM,
    "feature-extraction": BertModel,
    "text-classification": BertForSequenceClassification,
    "token-classification": BertForTokenClassification,
}


def both(task: str, loaded: Any, directory: Path, **options: Any) -> tuple[Any, Any]:
    """The pipeline here, and that of transformers from the same directory."""
    registry.save(loaded, directory)
    return pipeline(task, loaded, **options), transformers.pipeline(task, model=str(directory), **options)


def numbers(found: Any) -> Any:
    """The same structure, with floats that ``assert_close`` compares."""
    if isinstance(found, list):
        return [numbers(each) for each in found]
    if isinstance(found, dict):
        return {key: numbers(value) for key, value in found.items() if not isinstance(value, str)}
    return float(found)


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_those_of_a_model_of_transformers(task: str, tmp_path: Path) -> None:
    tokenizer = BertTokenizer(VOCABULARIES / "bert" / "vocab.txt")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    registry.save(TASKS[task](config).eval(), tmp_path / "made", tokenizer=tokenizer)
    ours, theirs = both(task, registry.load(tmp_path / "made"), tmp_path / "saved")
    texts = [f"{text} [MASK]" for text in TEXTS] if task == "fill-mask" else TEXTS
    for given in texts, texts[0]:
        found, expected = ours(given), theirs(given)
        assert_close(numbers(found), numbers(expected), atol=1e-5, rtol=1e-4)
        assert [str(each)[:20] for each in found] == [str(each)[:20] for each in expected]
    assert type(ours.model).__name__ == TASKS[task].__name__ in repr(ours)


GENERATION: list[dict[str, Any]] = [
    {"do_sample": False, "max_new_tokens": 6},
    {"do_sample": False, "max_length": 9},
    {"do_sample": False, "max_new_tokens": 5, "num_beams": 3, "num_return_sequences": 2, "return_full_text": False},
    {"do_sample": True, "temperature": 0.8, "top_k": 20, "max_new_tokens": 6},
    {"max_new_tokens": 6, "repetition_penalty": 1.5},
    {"generation_config": transformers.GenerationConfig(max_new_tokens=4, no_repeat_ngram_size=2)},
]


@pytest.mark.filterwarnings("ignore:Passing .generation_config. together")
def test_texts_are_continued_as_by_a_model_of_transformers(tmp_path: Path) -> None:
    tokenizer = GPT2Tokenizer.from_pretrained(VOCABULARIES / "gpt2", pad_token="<|endoftext|>", padding_side="left")
    sizes: dict[str, Any] = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    registry.save(model, tmp_path / "made", tokenizer=tokenizer)
    ours, theirs = both("text-generation", registry.load(tmp_path / "made"), tmp_path / "saved", batch_size=2)
    for options in GENERATION:
        torch.manual_seed(0)
        found = ours(TEXTS, **options)
        torch.manual_seed(0)
        assert found == theirs(TEXTS, **options)
    with pytest.raises(registry.errors.ConfigError, match="penalty_alpha"):
        ours(TEXTS, penalty_alpha=0.5, max_new_tokens=3)
