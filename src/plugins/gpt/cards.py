"""The published GPT: its name and addresses, and what belongs to its weights.

The hub comes first; after it stand the files on S3 which the ancestor downloaded.  Sizes and digests are null, since
nobody could take them from the files themselves.
"""

from registry.records import Card, FileSpec

HUB = "https://huggingface.co/openai-community/openai-gpt"
S3 = "https://s3.amazonaws.com/models.huggingface.co/bert/openai-gpt"


def _file(role: str, filename: str) -> FileSpec:
    """A file which both places have."""
    return FileSpec(role=role, filename=filename, urls=(f"{HUB}/resolve/main/{filename}", f"{S3}-{filename}"))


CARDS: tuple[Card, ...] = (
    Card(
        name="openai-gpt",
        architecture="gpt",
        task="causal-lm",
        files=(
            _file("config", "config.json"),
            FileSpec(role="weights", filename="model.safetensors", urls=(f"{HUB}/resolve/main/model.safetensors",)),
            _file("weights", "pytorch_model.bin"),
            _file("vocab", "vocab.json"),
            _file("merges", "merges.txt"),
        ),
        aliases=("openai-community/openai-gpt",),
        tokenizer={"max_len": 512},
        num_parameters=116_534_784,
        languages=("en",),
        license="MIT",
        description="The first GPT: 12 layers, lower-cased English books.",
        source=HUB,
    ),
)
