"""The examples, imported from where they lie, and a tiny model under the name from which they start."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import registry
from registry.zoo import BertConfig, BertModel, BertTokenizer

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for path in EXAMPLES.glob("*.py"):
        if path.stem != "docstrings":  # which remembers what it read
            sys.modules.pop(path.stem, None)


@pytest.fixture
def example(_examples: None) -> Callable[[str], ModuleType]:
    """Imports an example."""
    return importlib.import_module


@pytest.fixture
def run(example: Callable[[str], ModuleType]) -> Callable[..., str]:
    """Runs an example, and returns what it prints."""

    def run(name: str, *arguments: Any, exit_code: int = 0) -> str:
        result = CliRunner().invoke(example(name).main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.stdout

    return run


@pytest.fixture
def tiny_bert(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Path:
    """A directory with a BERT of random weights."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(**{**sizes, "max_position_embeddings": 256}))
    model.init_weights()
    return registry.save(model, tmp_path / "tiny", tokenizer=BertTokenizer(str(vocab_file), max_len=256))
