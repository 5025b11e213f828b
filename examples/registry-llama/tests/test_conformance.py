"""The contract which the registry's kit asks of every plugin."""

from pathlib import Path

from registry.testing import Conformance
from registry_llama.tokenization import LlamaTokenizer
from training import trained


class TestLlama(Conformance):
    plugin = "llama"
    config = {
        "vocab_size": 420,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "attention_dropout": 0.1,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }
    texts = (*Conformance.texts, "Every  byte\tcounts:\n  naïve 你好 \U0001f468\u200d\U0001f469.")

    def make_tokenizer(self, folder: Path) -> LlamaTokenizer:
        return LlamaTokenizer(trained(), max_len=32)
