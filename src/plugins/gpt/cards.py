"""The published GPT: its name, its URLs, and the options that belong to its weights.

The hub comes first; after it stand the files on S3 that pytorch-pretrained-bert downloaded.  Sizes and digests are not
known.
"""

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert/openai-gpt"


def _file(role: str, filename: str) -> FileSpec:
    """A file that lies on S3 too."""
    return FileSpec(role=role, filename=filename, urls=(f"{S3}-{filename}",))


CARDS: tuple[Card, ...] = (
    Card.on_hub(
        "openai-community/openai-gpt",
        name="openai-gpt",
        architecture="gpt",
        task="causal-lm",
        files=(
            _file("config", "config.json"),
            FileSpec(role="weights", filename="model.safetensors"),
            _file("weights", "pytorch_model.bin"),
            _file("vocab", "vocab.json"),
            _file("merges", "merges.txt"),
        ),
        tokenizer={"max_len": 512},
        num_parameters=116_534_784,
        languages=("en",),
        license="MIT",
        description="The first GPT: 12 layers, lower-cased English books.",
    ),
)
