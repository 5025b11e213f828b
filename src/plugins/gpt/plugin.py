"""Hooks of the gpt plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

from .cards import CARDS
from .layers import LAYERS


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the one published model."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration, and the two names of its file.

    Any file serves the language model, since its head is the matrix that embeds tokens.
    """
    yield ConfigSpec(
        architecture="gpt",
        cls=f"{__package__}.config:OpenAIGPTConfig",
        model_types=("openai-gpt",),
        filenames=("config.json", "openai_gpt_config.json"),
        default_task="causal-lm",
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the four classes, one for each task."""
    for task, name in (
        ("base", "OpenAIGPTModel"),
        ("causal-lm", "OpenAIGPTLMHeadModel"),
        ("double-heads", "OpenAIGPTDoubleHeadsModel"),
        ("sequence-classification", "OpenAIGPTForSequenceClassification"),
    ):
        yield ModelSpec(architecture="gpt", task=task, cls=f"{__package__}.modeling:{name}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer and its files."""
    yield TokenizerSpec(
        architecture="gpt",
        cls=f"{__package__}.tokenization:OpenAIGPTTokenizer",
        files={"vocab": "vocab.json", "merges": "merges.txt", "special_tokens": "special_tokens.txt"},
    )


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare how the arrays of OpenAI's release are named, and how those names translate."""
    yield WeightLoaderSpec(
        architecture="gpt",
        format="numpy",
        detect="registry.weights.numpy_shards:detect",
        loader=f"{__package__}.release_names:load_arrays",
        names=f"{__package__}.release_names:NUMPY",
        headers=f"{__package__}.release_names:array_headers",
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
