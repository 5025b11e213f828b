"""Hooks of the vit plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, FileSpec, ModelSpec, TokenizerSpec

FILES = (("config", "config.json"), ("weights", "model.safetensors"), ("processor", "preprocessor_config.json"))
"""Role and name of the files of a model."""


@hookimpl
def registry_cards() -> Iterable[Card]:
    """Declare the model of ImageNet's thousand classes."""
    yield Card.on_hub(
        "google/vit-base-patch16-224",
        [FileSpec(role=role, filename=filename) for role, filename in FILES],
        name="vit-base-patch16-224",
        architecture="vit",
        task="image-classification",
        num_parameters=86_567_656,
        license="Apache-2.0",
        description="ViT-Base of patches of 16 pixels, fine-tuned on ImageNet's 1,000 classes.",
    )


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    """Declare the configuration."""
    yield ConfigSpec(architecture="vit", cls=f"{__package__}.config:ViTConfig", model_types=("vit",))


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    """Declare the model without a head, and the classifier."""
    for task, cls in (("base", "ViTModel"), ("image-classification", "ViTForImageClassification")):
        yield ModelSpec(architecture="vit", task=task, cls=f"{__package__}.modeling:{cls}")


@hookimpl
def registry_tokenizers() -> Iterable[TokenizerSpec]:
    """Declare the processor, which is of images."""
    yield TokenizerSpec(
        architecture="vit",
        cls=f"{__package__}.processing:ViTProcessor",
        files={"processor": "preprocessor_config.json"},
    )
