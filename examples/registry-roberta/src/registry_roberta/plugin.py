"""Hooks of the roberta plugin."""

from collections.abc import Iterable

from registry import Card, ConfigSpec, FileSpec, ModelSpec, TokenizerSpec, hookimpl

MODELS = {
    "base": "RobertaModel",
    "masked-lm": "RobertaForMaskedLM",
    "sequence-classification": "RobertaForSequenceClassification",
}
FILES = {"vocab": "vocab.json", "merges": "merges.txt", "tokenizer": "tokenizer.json"}
PUBLISHED = {"config": "config.json", "weights": "model.safetensors", **FILES}.items()


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration."""
    yield ConfigSpec(
        architecture="roberta",
        cls="registry_roberta.config:RobertaConfig",
        model_types=("roberta",),
        default_task="masked-lm",
    )


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare a class for each task."""
    for task, name in MODELS.items():
        yield ModelSpec(architecture="roberta", task=task, cls=f"registry_roberta.modeling:{name}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the tokenizer."""
    yield TokenizerSpec(architecture="roberta", cls="registry_roberta.tokenization:RobertaTokenizer", files=FILES)


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare two models of the hub."""
    for name in ("roberta-base", "roberta-large"):
        files = [FileSpec(role=role, filename=file) for role, file in PUBLISHED]
        about = {"name": name, "architecture": "roberta", "task": "masked-lm"}
        yield Card.on_hub(f"FacebookAI/{name}", files, revision="main", **about)  # type: ignore[arg-type]  # fields of a card
