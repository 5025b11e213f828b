"""Hooks of the t5 plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, ModelSpec, TokenizerSpec

from .cards import CARDS

CLASSES = {"base": "T5Model", "encoder": "T5EncoderModel", "seq2seq-lm": "T5ForConditionalGeneration"}
"""The class of each task."""


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the published models."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration."""
    yield ConfigSpec(
        architecture="t5", cls=f"{__package__}.config:T5Config", model_types=("t5",), default_task="seq2seq-lm"
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare a class for each task."""
    for task, name in CLASSES.items():
        outputs = {"last_hidden_state": ("batch", "tokens", "any")} if task == "encoder" else {}
        yield ModelSpec(architecture="t5", task=task, cls=f"{__package__}.modeling:{name}", outputs=outputs)


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer, and the files of which it reads the first that is there."""
    yield TokenizerSpec(
        architecture="t5",
        cls=f"{__package__}.tokenization:T5Tokenizer",
        files={"vocab": "spiece.model", "tokenizer": "tokenizer.json"},
    )
