"""The contract which the registry's kit asks of every plugin."""

from pathlib import Path
from typing import Any, ClassVar

from registry.testing import Conformance, ParallelSuite
from registry_t5.tokenization import T5Tokenizer
from training import trained

SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 7,
}


class TestT5(Conformance):
    """T5 1.1: a gate, and a head of its own."""

    plugin = "t5"
    config: ClassVar[dict[str, Any]] = {**SIZES, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    unsupported: ClassVar[dict[str, str]] = {"exact-text": "several spaces are one, and characters are normalized"}

    def make_tokenizer(self, folder: Path) -> T5Tokenizer:
        return T5Tokenizer(trained(), extra_ids=10)


class TestFirstT5(ParallelSuite):
    """T5 1.0 on two processes: no gate, and the embedding is the head, of rows that two cannot share evenly."""

    plugin = "t5"
    config: ClassVar[dict[str, Any]] = {**SIZES, "vocab_size": 61}
