"""Hooks of the gpt2 plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

from .cards import CARDS
from .layers import LAYERS


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the four models of OpenAI, and the one distilled from the smallest."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration, and the two names of its file.

    Any file serves the language model, since its head is the matrix that embeds tokens.
    """
    yield ConfigSpec(
        architecture="gpt2",
        cls=f"{__package__}.config:GPT2Config",
        model_types=("gpt2",),
        filenames=("config.json", "gpt2_config.json"),
        default_task="causal-lm",
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the five classes, one for each task."""
    for task, cls in (
        ("base", "modeling:GPT2Model"),
        ("causal-lm", "modeling:GPT2LMHeadModel"),
        ("double-heads", "modeling:GPT2DoubleHeadsModel"),
        ("sequence-classification", "finetuning:GPT2ForSequenceClassification"),
        ("token-classification", "finetuning:GPT2ForTokenClassification"),
    ):
        yield ModelSpec(architecture="gpt2", task=task, cls=f"{__package__}.{cls}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer and its files."""
    yield TokenizerSpec(
        architecture="gpt2",
        cls=f"{__package__}.tokenization:GPT2Tokenizer",
        files={"vocab": "vocab.json", "merges": "merges.txt", "special_tokens": "special_tokens.txt"},
    )


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare how the names of OpenAI's release translate."""
    yield WeightLoaderSpec(
        architecture="gpt2",
        format="tensorflow",
        detect="registry.weights.tensorflow.bundle:detect",
        loader="registry.weights.tensorflow.bundle:load",
        names=f"{__package__}.release_names:TENSORFLOW",
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
