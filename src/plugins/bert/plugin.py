"""Hooks of the bert plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

from .cards import CARDS
from .layers import LAYERS


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the models of pytorch-pretrained-bert, and one small sentence encoder."""
    return CARDS


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration, and the two names of its file."""
    yield ConfigSpec(
        architecture="bert",
        cls=f"{__package__}.config:BertConfig",
        model_types=("bert",),
        filenames=("config.json", "bert_config.json"),
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the eight classes, one for each task."""
    for task, cls in (
        ("base", "modeling:BertModel"),
        ("pretraining", "modeling:BertForPreTraining"),
        ("masked-lm", "modeling:BertForMaskedLM"),
        ("next-sentence-prediction", "modeling:BertForNextSentencePrediction"),
        ("sequence-classification", "finetuning:BertForSequenceClassification"),
        ("token-classification", "finetuning:BertForTokenClassification"),
        ("multiple-choice", "finetuning:BertForMultipleChoice"),
        ("question-answering", "finetuning:BertForQuestionAnswering"),
    ):
        yield ModelSpec(architecture="bert", task=task, cls=f"{__package__}.{cls}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer and its file."""
    yield TokenizerSpec(
        architecture="bert", cls=f"{__package__}.tokenization:BertTokenizer", files={"vocab": "vocab.txt"}
    )


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare how the names of Google's release, and of what its programs fine-tune, translate."""
    yield WeightLoaderSpec(
        architecture="bert",
        format="tensorflow",
        detect="registry.weights.tensorflow.bundle:detect",
        loader="registry.weights.tensorflow.bundle:load",
        names=f"{__package__}.release_names:TENSORFLOW",
    )


@hookimpl
def registry_layers() -> Iterable[LayerSpec]:
    """Declare the layers that others may build with."""
    return LAYERS
