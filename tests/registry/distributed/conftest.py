"""Tiny saved models, and processes that share them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import registry
from registry.testing.ranks import RankPool
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat"]


@pytest.fixture(scope="session")
def four_ranks() -> Iterator[RankPool]:
    """Four processes, for two times two, and for three."""
    ranks = RankPool(4)
    yield ranks
    ranks.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of saved models: odd vocabularies, dropout, ties of all kinds."""
    root = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    bert = BertConfig(vocab_size=71, max_position_embeddings=32, **sizes)
    words = BertTokenizer({word: number for number, word in enumerate(WORDS)})
    small = BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)
    gpt2 = GPT2Config(vocab_size=71, n_embd=24, n_layer=2, n_head=4, n_positions=32)
    xl = {"vocab_size": 61, "cutoffs": (20, 40), "d_model": 24, "d_embed": 24, "n_head": 4, "d_head": 6, "d_inner": 48}
    xl |= {"n_layer": 2, "mem_len": 8, "tgt_len": 8, "div_val": 2}
    made = {
        "bert": BertForMaskedLM(bert),
        "base": BertModel(small),
        "gpt2": GPT2LMHeadModel(gpt2),
        "xl": TransfoXLLMHeadModel(TransfoXLConfig(**xl)),
        "xl-shared": TransfoXLLMHeadModel(TransfoXLConfig(**xl, untie_r=False)),
    }
    torch.manual_seed(0)
    for name, model in made.items():
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        registry.save(model, root / name, tokenizer=words if name == "base" else None)
    return root
