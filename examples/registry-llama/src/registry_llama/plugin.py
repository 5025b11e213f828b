"""Hooks of the llama plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec

from .cards import CARDS
from .layers import LAYERS


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare two small models that anyone may use."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration."""
    yield ConfigSpec(
        architecture="llama", cls=f"{__package__}.config:LlamaConfig", model_types=("llama",), default_task="causal-lm"
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the two classes, one for each task."""
    for task, name in (("base", "LlamaModel"), ("causal-lm", "LlamaForCausalLM")):
        yield ModelSpec(architecture="llama", task=task, cls=f"{__package__}.modeling:{name}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer, and the files of which it reads the first that is there."""
    yield TokenizerSpec(
        architecture="llama",
        cls=f"{__package__}.tokenization:LlamaTokenizer",
        files={"vocab": "tokenizer.model", "tokenizer": "tokenizer.json"},
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
