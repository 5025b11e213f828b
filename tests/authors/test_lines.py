"""How much an author writes: lines that are not blank, in src, for what people write plugins for."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from registry.cli.setup.new import render

EXAMPLES = Path(__file__).parents[2] / "examples"


def lines(texts: Iterable[str]) -> int:
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


@pytest.mark.parametrize(
    ("kind", "architecture", "most"),
    [("head", "bert", 25), ("head", "gpt2", 25), ("cards", "bert", 15), ("cards", "gpt2", 15), ("weights", "bert", 45)],
)
def test_a_package_that_adds_to_an_architecture_is_short(kind: str, architecture: str, most: int) -> None:
    files = render("my-tiny", kind, architecture)
    written = [text for path, text in files if path.parts[0] == "src" and path.suffix == ".py"]
    assert 5 < lines(written) <= most


@pytest.mark.parametrize(
    ("directory", "most"),
    [
        ("registry-roberta/src/registry_roberta", 150),  # from BERT: three tasks, tokenizer, cards
        ("registry-llama/src/registry_llama/mixtral", 60),  # from Llama: experts, which files keep one by one
    ],
)
def test_an_architecture_that_is_like_another_is_short(directory: str, most: int) -> None:
    written = [path.read_text("utf-8") for path in (EXAMPLES / directory).glob("*.py")]
    assert len(written) >= 3
    assert lines(written) <= most


def test_an_encoder_decoder_of_its_own_is_short() -> None:
    """With its docstrings, and the plan by which processes share it."""
    sources = [path.read_text("utf-8") for path in (EXAMPLES / "registry-t5/src").rglob("*.py")]
    assert len(sources) >= 3
    assert lines(sources) <= 330
