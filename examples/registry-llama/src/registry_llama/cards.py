"""Two small published models: names, files, and the options that belong to their weights.

Sizes and digests are null, since nobody could take them from the files themselves.
"""

from typing import Any

from registry.records import Card, FileSpec

FILES = (
    ("config", "config.json"),
    ("weights", "model.safetensors"),
    ("tokenizer_config", "tokenizer_config.json"),
)
"""Role and name of the files that both repositories have."""


def _published(repository: str, tokenizer: tuple[str, str], max_len: int, **what: Any) -> Card:
    """The card of a repository of the hub, named like it; ``tokenizer`` is role and name of the file of its tokens."""
    return Card.on_hub(
        repository,
        name=repository.rpartition("/")[2].lower(),
        architecture="llama",
        task="causal-lm",
        files=tuple(FileSpec(role=role, filename=filename) for role, filename in (*FILES, tokenizer)),
        tokenizer={"max_len": max_len},
        languages=("en",),
        license="Apache-2.0",
        **what,
    )


CARDS: tuple[Card, ...] = (
    _published(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        ("vocab", "tokenizer.model"),
        2048,
        num_parameters=1_100_048_384,
        description="Llama 2's architecture at 1.1B parameters, 22 layers, tuned to chat; pieces of sentencepiece.",
    ),
    _published(
        "HuggingFaceTB/SmolLM2-135M",
        ("tokenizer", "tokenizer.json"),
        8192,
        num_parameters=134_515_008,
        description="Thirty layers, trained on web pages, code and mathematics; bytes that merge in pairs.",
    ),
)
