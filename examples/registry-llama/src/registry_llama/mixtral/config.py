"""The configuration of Mixtral."""

from typing import ClassVar

from attrs import Attribute, frozen

from registry.config.fields import optional_size, size
from registry.errors import ConfigError

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
    num_experts_per_tok: int = size(2, most=100_000)
    """Experts that compute a token."""

    @num_experts_per_tok.validator
    def _are_there(self, _attribute: "Attribute[int]", number: int) -> None:
        if number > self.num_local_experts:
            raise ConfigError(f"num_experts_per_tok ({number}) exceeds num_local_experts ({self.num_local_experts}).")

    @property
    def num_experts(self) -> int:
        """Feed-forward networks of a block."""
        return self.num_local_experts
