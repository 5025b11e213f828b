"""A small BERT and a small GPT-2 with vocabularies, and files of texts."""

import json
from pathlib import Path

import pytest
import torch

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel
from plugins.bert.tokenization import BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij")]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small BERT and its tokenizer."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("bert")
    vocabulary = directory / "words.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    registry.save(BertModel(config).eval(), directory / "model", tokenizer=BertTokenizer(vocabulary))
    return directory / "model"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts of many lengths, some of them beyond the context; the same every time."""
    return ["".join("abcdefghij "[(7 * n + 3 * k * k) % 11] for k in range(n * n % 97)) for n in range(95)]


@pytest.fixture
def lines(texts: list[str], tmp_path: Path) -> Path:
    """A file of the texts, one a line."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return path


@pytest.fixture
def objects(texts: list[str], tmp_path: Path) -> Path:
    """A file of JSON objects, with keys of their own."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": f"t{n}", "body": text}) + "\n" for n, text in enumerate(texts)), "utf-8")
    return path
