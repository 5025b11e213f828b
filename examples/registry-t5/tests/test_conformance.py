"""The contract which the registry's kit asks of every plugin."""

from pathlib import Path

from registry.testing import Conformance
from registry_t5.tokenization import T5Tokenizer
from training import trained


class TestT5(Conformance):
    plugin = "t5"
    config = {
        "vocab_size": 200,
        "d_model": 24,
        "d_kv": 6,
        "d_ff": 40,
        "num_layers": 2,
        "num_heads": 4,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 7,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }
    unsupported = {"exact-text": "several spaces are one, and characters are normalized"}

    def make_tokenizer(self, folder: Path) -> T5Tokenizer:
        return T5Tokenizer(trained(), extra_ids=10)
