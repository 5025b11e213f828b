"""The configuration of Phi 3."""

from typing import Any, ClassVar

from attrs import frozen

from registry.config.fields import choice, optional_size

from ..config import LlamaConfig, token_id


@frozen(kw_only=True)
class Phi3Config(LlamaConfig):
    """Sizes and rates of a Phi 3 (Abdin et al., 2024) for short contexts."""

    architecture: ClassVar[str] = "phi3"
    model_type: ClassVar[str] = "phi3"
    required_keys: ClassVar[tuple[str, ...]] = ("rms_norm_eps", "resid_pdrop")

    sliding_window: int | None = optional_size(None)
    """Tokens to which one attends, itself included; all before it when null."""
    resid_pdrop: float = choice(0.0, (0.0,))
    """Dropout after attention and feed-forward networks, which no published model has."""
    embd_pdrop: float = choice(0.0, (0.0,))
    """Dropout of embeddings, which no published model has."""
    eos_token_id: int | tuple[int, ...] | None = token_id(None)
    """The token, or the tokens, that end a text."""

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends; None for all before it."""
        return (self.sliding_window,) * self.num_hidden_layers

    def to_dict(self) -> dict[str, Any]:
        """The keys of the file; transformers does not know a ``head_dim`` that is null."""
        return {key: value for key, value in super().to_dict().items() if key != "head_dim" or value is not None}
