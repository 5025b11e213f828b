"""What the transfo_xl plugin tells the registry."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

from .cards import CARDS
from .layers import LAYERS

HERE = __name__.rpartition(".")[0]


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the one model that was published."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration, and the two names of its file."""
    yield ConfigSpec(
        architecture="transfo_xl",
        cls=f"{HERE}.config:TransfoXLConfig",
        model_types=("transfo-xl",),
        filenames=("config.json", "transfo_xl_config.json"),
        default_task="causal-lm",
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the three classes, one for each task."""
    for task, name in (
        ("base", "TransfoXLModel"),
        ("causal-lm", "TransfoXLLMHeadModel"),
        ("sequence-classification", "TransfoXLForSequenceClassification"),
    ):
        yield ModelSpec(architecture="transfo_xl", task=task, cls=f"{HERE}.modeling:{name}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer, and the file that it writes; it also reads the published ``vocab.bin``."""
    yield TokenizerSpec(
        architecture="transfo_xl", cls=f"{HERE}.tokenization:TransfoXLTokenizer", files={"vocab": "vocab.txt"}
    )


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare how the names of the authors' release translate."""
    yield WeightLoaderSpec(
        architecture="transfo_xl",
        format="tensorflow",
        detect="registry.weights.tensorflow.bundle:detect",
        loader=f"{HERE}.release_names:load_tensorflow",
        names=f"{HERE}.release_names:TENSORFLOW",
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers which others may build with."""
    return LAYERS
