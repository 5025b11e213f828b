"""Hooks of the llama plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec

from .cards import CARDS
from .layers import LAYERS

PACKAGES = {
    "llama": f"{__package__}",
    "mistral": f"{__package__}.mistral",
    "mixtral": f"{__package__}.mixtral",
    "phi3": f"{__package__}.phi3",
    "qwen2": f"{__package__}.qwen",
    "qwen3": f"{__package__}.qwen",
    "qwen2-moe": f"{__package__}.qwen_moe",
    "qwen3-moe": f"{__package__}.qwen_moe",
}
"""The architectures, and the package of each."""


def _prefix(architecture: str) -> str:
    """How the names of its classes begin."""
    return "".join(map(str.capitalize, architecture.split("-")))


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare two small models that anyone may use."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configurations."""
    for architecture, package in PACKAGES.items():
        name, types = f"{package}.config:{_prefix(architecture)}Config", (architecture.replace("-", "_"),)
        yield ConfigSpec(architecture=architecture, cls=name, model_types=types, default_task="causal-lm")


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare two classes of each architecture, one for each task."""
    for architecture, package in PACKAGES.items():
        for task, suffix in (("base", "Model"), ("causal-lm", "ForCausalLM")):
            name = f"{package}.modeling:{_prefix(architecture)}{suffix}"
            yield ModelSpec(architecture=architecture, task=task, cls=name)


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer, and the files of which it reads the first that is there."""
    for architecture in PACKAGES:
        yield TokenizerSpec(
            architecture=architecture,
            cls=f"{__package__}.tokenization:LlamaTokenizer",
            files={"vocab": "tokenizer.model", "tokenizer": "tokenizer.json"},
        )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
