"""The configuration of Mixtral."""

from typing import ClassVar

from attrs import frozen

from registry.config.fields import optional_size, size

from ..config import experts_of_a_token
from ..mistral.config import MistralConfig


@frozen(kw_only=True)
class MixtralConfig(MistralConfig):
    """Sizes and rates of a Mixtral (Jiang et al., 2024); the defaults are 8x7B."""

    architecture: ClassVar[str] = "mixtral"
    model_type: ClassVar[str] = "mixtral"

    sliding_window: int | None = optional_size(None)
    """Tokens to which one attends, itself included; all before it when null."""
    num_local_experts: int = size(8, most=100_000)
    """Feed-forward networks of a block."""
    num_experts_per_tok: int = experts_of_a_token(2, of="num_local_experts")
    """Experts that compute a token."""

    @property
    def num_experts(self) -> int:
        """Feed-forward networks of a block."""
        return self.num_local_experts
