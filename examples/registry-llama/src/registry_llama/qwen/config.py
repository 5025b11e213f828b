"""The configurations of Qwen 2 and 3."""

from collections.abc import Sequence
from typing import Any, ClassVar

from attrs import Attribute, field, frozen

from registry.config.fields import choice, count, optional_size, size
from registry.errors import ConfigError

from ..config import LlamaConfig, head_size, token_id

SLIDING, FULL = "sliding_attention", "full_attention"


def _types(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _one_for_each_block(config: "Qwen2Config", attribute: "Attribute[Any]", types: Any) -> None:
    """Raise ConfigError unless there is a known type for each block, or none."""
    if types is not None and not (
        isinstance(types, tuple) and {*types} <= {SLIDING, FULL} and len(types) == config.num_hidden_layers
    ):
        raise ConfigError(
            f"{attribute.name} must be {FULL!r} or {SLIDING!r} for each of num_hidden_layers, or null, not {types!r}."
        )


@frozen(kw_only=True)
class Qwen2Config(LlamaConfig):
    """Sizes and rates of a Qwen 2 or 2.5 (Yang et al., 2024)."""

    architecture: ClassVar[str] = "qwen2"
    model_type: ClassVar[str] = "qwen2"
    required_keys: ClassVar[tuple[str, ...]] = ("rms_norm_eps", "max_window_layers")

    vocab_size: int = size(151_936)
    """Rows of the embedding."""
    intermediate_size: int = size(22016)
    """Features inside the feed-forward network of a block."""
    max_position_embeddings: int = size(32768)
    """Longest sequence, in tokens."""
    use_sliding_window: bool = choice(False, (False, True))
    """Whether tokens of some blocks attend to a window."""
    sliding_window: int | None = optional_size(4096)
    """Tokens to which one attends there, itself included."""
    max_window_layers: int = count(28)
    """Blocks before the first in which tokens attend to a window."""
    layer_types: tuple[str, ...] | None = field(default=None, converter=_types, validator=_one_for_each_block)
    """For each block whether tokens attend to a window; by ``max_window_layers`` when null."""
    bos_token_id: int | tuple[int, ...] | None = token_id(None)
    """The token that begins a text."""
    eos_token_id: int | tuple[int, ...] | None = token_id(None)
    """The token, or the tokens, that end a text."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends; None for all before it."""
        first = range(self.num_hidden_layers)
        types = self.layer_types or tuple(SLIDING if number >= self.max_window_layers else FULL for number in first)
        window = self.sliding_window if self.use_sliding_window else None
        return tuple(window if kind == SLIDING else None for kind in types)

    def to_dict(self) -> dict[str, Any]:
        """The keys of the file; transformers does not know a ``head_dim`` that is null."""
        keys = super().to_dict()
        return {key: value for key, value in keys.items() if key != "head_dim" or value is not None}


@frozen(kw_only=True)
class Qwen3Config(Qwen2Config):
    """Sizes and rates of a Qwen 3 without experts (Yang et al., 2025)."""

    architecture: ClassVar[str] = "qwen3"
    model_type: ClassVar[str] = "qwen3"

    head_dim: int | None = head_size(128)
    """Features of a head."""
