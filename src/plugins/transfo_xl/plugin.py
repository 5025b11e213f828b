"""The hooks of the transfo_xl plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

from .cards import CARDS
from .layers import LAYERS


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the published model."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration."""
    yield ConfigSpec(
        architecture="transfo_xl",
        cls=f"{__package__}.config:TransfoXLConfig",
        model_types=("transfo-xl",),
        filenames=("config.json", "transfo_xl_config.json"),
        default_task="causal-lm",
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the classes, one for each task."""
    for task, name in (
        ("base", "TransfoXLModel"),
        ("causal-lm", "TransfoXLLMHeadModel"),
        ("sequence-classification", "TransfoXLForSequenceClassification"),
    ):
        yield ModelSpec(architecture="transfo_xl", task=task, cls=f"{__package__}.modeling:{name}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer, which writes ``vocab.txt``, and also reads the published ``vocab.bin``."""
    yield TokenizerSpec(
        architecture="transfo_xl", cls=f"{__package__}.tokenization:TransfoXLTokenizer", files={"vocab": "vocab.txt"}
    )


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare the names of the TensorFlow checkpoint."""
    yield WeightLoaderSpec(
        architecture="transfo_xl",
        format="tensorflow",
        detect="registry.weights.tensorflow.bundle:detect",
        loader=f"{__package__}.release_names:load_tensorflow",
        names=f"{__package__}.release_names:TENSORFLOW",
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
