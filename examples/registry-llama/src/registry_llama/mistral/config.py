"""The configuration of Mistral."""

from typing import ClassVar

from attrs import frozen

from registry.config.fields import optional_size, size

from ..config import LlamaConfig, shared_heads


@frozen(kw_only=True)
class MistralConfig(LlamaConfig):
    """Sizes and rates of a Mistral (Jiang et al., 2023); the defaults are the first one, of 7B parameters."""

    architecture: ClassVar[str] = "mistral"
    model_type: ClassVar[str] = "mistral"

    intermediate_size: int = size(14336)
    """Features inside the feed-forward network of a block."""
    num_key_value_heads: int | None = shared_heads(8)
    """Heads of keys and values."""
    max_position_embeddings: int = size(131_072)
    """Longest sequence, in tokens."""
    sliding_window: int | None = optional_size(4096)
    """Tokens to which one attends, itself included; all before it when null."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends; None for all before it."""
        return (self.sliding_window,) * self.num_hidden_layers
