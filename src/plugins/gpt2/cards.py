"""The published GPT-2 models: names, URLs, and the options that belong to their weights.

The hub comes first; after it stand the files on S3 that pytorch-pretrained-bert downloaded.  Sizes and digests are not
known.
"""

from collections.abc import Mapping
from types import MappingProxyType

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert"

FILES = (
    ("config", "config.json"),
    ("weights", "model.safetensors"),
    ("weights", "pytorch_model.bin"),
    ("vocab", "vocab.json"),
    ("merges", "merges.txt"),
)
"""Role and name of every file, the same in each repository."""


def _published(
    name: str,
    description: str,
    num_parameters: int,
    *,
    config: Mapping[str, int] = MappingProxyType({}),
    organization: str = "openai-community",
    on_s3: bool = False,
    license: str = "MIT",
) -> Card:
    """The card of a model; on S3, the names of its files begin with the model's."""

    def mirrors(filename: str) -> tuple[str, ...]:
        mirrored = on_s3 and filename != "model.safetensors"  # the format is younger than the files on S3
        return (f"{S3}/{name}-{filename}",) if mirrored else ()

    return Card.on_hub(
        f"{organization}/{name}",
        name=name,
        architecture="gpt2",
        task="causal-lm",
        files=tuple(FileSpec(role=role, filename=filename, urls=mirrors(filename)) for role, filename in FILES),
        tokenizer={"max_len": 1024},
        config=config,
        num_parameters=num_parameters,
        languages=("en",),
        license=license,
        description=description,
    )


CARDS: tuple[Card, ...] = (
    _published("gpt2", "GPT-2, the smallest: 12 layers, English web pages.", 124_439_808, on_s3=True),
    _published(
        "gpt2-medium",
        "GPT-2 with 24 layers, English web pages.",
        354_823_168,
        config={"n_embd": 1024, "n_layer": 24, "n_head": 16},
        on_s3=True,
    ),
    _published(
        "gpt2-large",
        "GPT-2 with 36 layers, English web pages.",
        774_030_080,
        config={"n_embd": 1280, "n_layer": 36, "n_head": 20},
    ),
    _published(
        "gpt2-xl",
        "GPT-2, the largest: 48 layers, English web pages.",
        1_557_611_200,
        config={"n_embd": 1600, "n_layer": 48, "n_head": 25},
    ),
    _published(
        "distilgpt2",
        "Six layers that were taught by GPT-2's twelve.",
        81_912_576,
        config={"n_layer": 6},
        organization="distilbert",
        license="Apache-2.0",
    ),
)
