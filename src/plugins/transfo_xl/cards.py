"""The published Transformer-XL: its name and addresses.

The hub comes first; after it stand the files on S3 which the ancestor downloaded.  Sizes and digests are null, since
nobody could take them from the files themselves.
"""

from registry.records import Card, FileSpec

REPOSITORY = "https://huggingface.co/transfo-xl/transfo-xl-wt103"
S3 = "https://s3.amazonaws.com/models.huggingface.co/bert/transfo-xl-wt103"


def _file(role: str, filename: str, *, on_s3: bool = True) -> FileSpec:
    mirrors = (f"{S3}-{filename}",) if on_s3 else ()
    return FileSpec(role=role, filename=filename, urls=(f"{REPOSITORY}/resolve/main/{filename}", *mirrors))


CARDS: tuple[Card, ...] = (
    Card(
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
        aliases=("transfo-xl/transfo-xl-wt103",),
        num_parameters=285_205_322,
        languages=("en",),
        license="Apache-2.0",
        description="Transformer-XL, the large one: 18 layers, words of English Wikipedia (WikiText-103).",
        source=REPOSITORY,
    ),
)
