"""The published Transformer-XL: its name and URLs.

The hub comes first, at the commit that the documentation of transformers names as the one to trust; after it stand the
files on S3 that pytorch-pretrained-bert downloaded.  Sizes and digests are not known.
"""

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert/transfo-xl-wt103"


def _file(role: str, filename: str, *, on_s3: bool = True) -> FileSpec:
    return FileSpec(role=role, filename=filename, urls=(f"{S3}-{filename}",) if on_s3 else ())


CARDS: tuple[Card, ...] = (
    Card.on_hub(
        "transfo-xl/transfo-xl-wt103",
        revision="40a186da79458c9f9de846edfaea79c412137f97",
        name="transfo-xl-wt103",
        architecture="transfo_xl",
        task="causal-lm",
        files=(
            _file("config", "config.json"),
            _file("weights", "model.safetensors", on_s3=False),  # younger than the files on S3
            _file("weights", "pytorch_model.bin"),
            _file("vocab", "vocab.bin"),
            _file("vocab", "vocab.pkl", on_s3=False),
        ),
        num_parameters=285_205_322,
        languages=("en",),
        license="Apache-2.0",
        description="Transformer-XL, the large one: 18 layers, words of English Wikipedia (WikiText-103).",
    ),
)
