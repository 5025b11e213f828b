"""Two small published models: names, files, digests, and the options that belong to their weights.

Sizes and digests come from public lists of the hub's files and were checked against one another; unchecked ones are
None.
"""

from collections.abc import Mapping
from typing import Any

from registry.records import Card, FileSpec

FILES = (
    ("config", "config.json"),
    ("weights", "model.safetensors"),
    ("tokenizer_config", "tokenizer_config.json"),
)
"""Role and name of the files that both repositories have."""

DIGESTS: Mapping[str, tuple[str, Mapping[str, tuple[int | None, str | None]]]] = {
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": (
        "fe8a4ea1ffedaf415f4da2f062534de366a451e6",
        {
            "config.json": (608, "486bedda3a6988332e60d9638a09ca4b260d34ebcf1b19e22cf3b140b63d8fe9"),
            "model.safetensors": (2_200_119_864, "6e6001da2106d4757498752a021df6c2bdc332c650aae4bae6b0c004dcf14933"),
            "tokenizer_config.json": (1_289, "7b41ba7d0eb91e77914ca3dafde559ea3e19878769b7e68409e89bed5222e77a"),
            "tokenizer.model": (499_723, "9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347"),
        },
    ),
    "HuggingFaceTB/SmolLM2-135M": (
        "93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        {
            "config.json": (704, "1d556eab73b69c7f11f64c557a2f9c6f440bd4c6b89bb2584a6b498c92603843"),
            "model.safetensors": (269_060_552, "80521b40281d6ce74e35c9282c22539e75aa0ac8578892b2a59955ef78d55da1"),
            "tokenizer.json": (2_104_556, "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c"),
        },
    ),
}
"""Of each repository a commit, and of its files there the size and the sha256."""


def _published(repository: str, tokenizer: tuple[str, str], max_len: int, **what: Any) -> Card:
    """The card of a repository of the hub, named like it; ``tokenizer`` is role and name of the file of its tokens."""
    revision, known = DIGESTS[repository]

    def file(role: str, filename: str) -> FileSpec:
        size, sha256 = known.get(filename, (None, None))
        return FileSpec(role=role, filename=filename, size=size, sha256=sha256)

    return Card.on_hub(
        repository,
        revision=revision,
        name=repository.rpartition("/")[2].lower(),
        architecture="llama",
        task="causal-lm",
        files=tuple(file(*named) for named in (*FILES, tokenizer)),
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
