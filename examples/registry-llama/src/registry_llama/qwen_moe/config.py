"""The configurations of Qwen 2 and 3 with experts."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import Attribute, field, frozen

from registry.config.fields import choice, size
from registry.errors import ConfigError

from ..config import LlamaConfig, experts_of_a_token
from ..qwen.config import Qwen2Config, Qwen3Config


def _none(_config: Any, attribute: "Attribute[Any]", blocks: Any) -> None:
    """Raise ConfigError unless every block has experts, as in the published models."""
    if blocks not in (None, []):
        raise ConfigError(f"{attribute.name} must be empty: blocks without experts are not supported, not {blocks!r}.")


class WithExperts(LlamaConfig):
    """What both configurations derive from their fields."""

    moe_intermediate_size: int
    num_experts: int
    shared_expert_intermediate_size: int = 0

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and blocks, normalizations and routers excluded."""
        attention = 2 * self.head_width * (self.num_attention_heads + self.key_value_heads)
        inner = self.moe_intermediate_size * self.num_experts + self.shared_expert_intermediate_size
        return self.hidden_size * (self.vocab_size + self.num_hidden_layers * (attention + 3 * inner))


@frozen(kw_only=True)
class Qwen2MoeConfig(WithExperts, Qwen2Config):
    """Sizes and rates of a Qwen 1.5 or 2 with experts; the defaults are Qwen 1.5, of which 2.7B compute a token."""

    architecture: ClassVar[str] = "qwen2-moe"
    model_type: ClassVar[str] = "qwen2_moe"
    required_keys: ClassVar[tuple[str, ...]] = ("shared_expert_intermediate_size", "moe_intermediate_size")

    moe_intermediate_size: int = size(1408)
    """Features inside of an expert."""
    shared_expert_intermediate_size: int = size(5632)
    """Features inside of the expert that computes every token."""
    num_experts: int = size(60, most=100_000)
    """Feed-forward networks of a block."""
    num_experts_per_tok: int = experts_of_a_token(4, of="num_experts")
    """Experts that compute a token, the shared one not counted."""
    norm_topk_prob: bool = choice(False, (False, True))
    """Whether the weights of these are scaled to a sum of 1."""
    decoder_sparse_step: int = choice(1, (1,))
    """Every block has experts."""
    mlp_only_layers: Any = field(default=None, validator=_none)
    """Blocks without experts, of which there are none."""

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the keys of a published file, in which a window of 0 is none."""
        return super().from_dict({k: keys[k] for k in keys if (k, keys[k]) != ("sliding_window", 0)}, **overrides)

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends; every second one of the first, unless typed."""
        if self.layer_types is not None or not self.use_sliding_window:
            return super().windows
        first = range(self.num_hidden_layers)
        return tuple(
            None if number % 2 or number >= self.max_window_layers else self.sliding_window for number in first
        )


@frozen(kw_only=True)
class Qwen3MoeConfig(WithExperts, Qwen3Config):
    """Sizes and rates of a Qwen 3 with experts (Yang et al., 2025); the defaults are 30B-A3B."""

    architecture: ClassVar[str] = "qwen3-moe"
    model_type: ClassVar[str] = "qwen3_moe"
    required_keys: ClassVar[tuple[str, ...]] = ("moe_intermediate_size", "norm_topk_prob")
    aliases: ClassVar[Mapping[str, str]] = {"num_local_experts": "num_experts"}  # in files of transformers 5

    moe_intermediate_size: int = size(768)
    """Features inside of an expert."""
    num_experts: int = size(128, most=100_000)
    """Feed-forward networks of a block."""
    num_experts_per_tok: int = experts_of_a_token(8, of="num_experts")
    """Experts that compute a token."""
    norm_topk_prob: bool = choice(False, (False, True))
    """Whether the weights of these are scaled to a sum of 1."""
    decoder_sparse_step: int = choice(1, (1,))
    """Every block has experts."""
    mlp_only_layers: Any = field(default=None, validator=_none)
    """Blocks without experts, of which there are none."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends, the same in all; None for all before it."""
        return (self.sliding_window if self.use_sliding_window else None,) * self.num_hidden_layers
