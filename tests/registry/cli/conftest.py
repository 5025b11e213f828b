"""Directories of small models, saved as a user would have them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertForMaskedLM, BertModel
from plugins.bert.tokenization import BertTokenizer
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.cli import main
from registry.tokenization.byte_level import bytes_to_unicode

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Call ``registry`` with these arguments, in this process."""

    def run(*arguments: object, **options: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="registry", **options)

    return run


@pytest.fixture
def bert_tokenizer(vocab_file: Path) -> BertTokenizer:
    return BertTokenizer(vocab_file, max_len=16)


@pytest.fixture
def masked_lm(tmp_path: Path, sizes: dict[str, int], bert_tokenizer: BertTokenizer) -> Path:
    """A BERT that was trained, for a second, to answer 'the cat sat on the [MASK].' with 'mat'."""
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    batch = bert_tokenizer(["the cat sat on the [MASK]."], return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], -100)
    labels[batch["input_ids"] == bert_tokenizer.vocab["[MASK]"]] = bert_tokenizer.vocab["mat"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
    return registry.save(model.eval(), tmp_path / "masked-lm", tokenizer=bert_tokenizer)


@pytest.fixture
def encoder(tmp_path: Path, sizes: dict[str, int], bert_tokenizer: BertTokenizer) -> Path:
    torch.manual_seed(0)
    return registry.save(BertModel(BertConfig(**sizes)).eval(), tmp_path / "encoder", tokenizer=bert_tokenizer)


BYTES = {token: number for number, token in enumerate([*bytes_to_unicode().values(), "<|endoftext|>"])}


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    """A GPT-2 with random weights over single bytes: most of what it writes is not a whole character."""
    return saved_writer(tmp_path, BYTES)


@pytest.fixture
def endless_writer(tmp_path: Path) -> Path:
    """The same without a token that ends a text."""
    return saved_writer(tmp_path, {token: number for token, number in BYTES.items() if len(token) == 1})


def saved_writer(tmp_path: Path, vocab: dict[str, int]) -> Path:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(vocab), n_positions=32, n_embd=24, n_layer=2, n_head=4)
    model = GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():  # far from uniform
        parameter.data += 0.3 * torch.randn_like(parameter)
    return registry.save(model, tmp_path / "writer", tokenizer=GPT2Tokenizer(vocab, [], max_len=32))
