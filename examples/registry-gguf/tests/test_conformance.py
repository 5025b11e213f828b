"""The contract which the registry's kit asks of every plugin: here of a format, for two architectures of others."""

from pathlib import Path
from typing import Any

from registry.testing import CheckpointSuite, Conformance
from writing import write


class TestLlamaGGUF(Conformance):
    plugin = "gguf"
    architecture = "llama"
    config = {
        "vocab_size": 40,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
    }
    unsupported = {"tokenizer": "the format carries that of its model", "cards": "a format has no models"}

    def write_checkpoint(self, format: str, model: Any, directory: Path) -> None:
        write(model, directory / "model.gguf")


class TestGPT2GGUF(CheckpointSuite):
    plugin = "gguf"
    architecture = "gpt2"
    config = {"vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32}
    unsupported = {"tokenizer": "the format carries that of its model"}
    write_checkpoint = TestLlamaGGUF.write_checkpoint
