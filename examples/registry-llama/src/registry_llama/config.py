"""The configuration of Llama."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import Attribute, field, frozen

from registry.config import Config
from registry.config.fields import ACTIVATIONS, choice, optional_size, rate, scale, size
from registry.config.rotary import rope_scaling, with_older_keys
from registry.errors import ConfigError


def _token_ids(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _token_id(config: "LlamaConfig", attribute: "Attribute[Any]", value: Any) -> None:
    """Raise ConfigError unless a special token is an id, several, or null; -1 means null in some files."""
    ids = value if isinstance(value, tuple) else () if value is None else (value,)
    if type(config.vocab_size) is not int:
        return  # which its own check refuses
    if not all(type(number) is int and -1 <= number < config.vocab_size for number in ids):
        raise ConfigError(
            f"{attribute.name} must be an id below vocab_size ({config.vocab_size:,}), a list of them, or null, "
            f"not {value!r}."
        )


def token_id(default: int | None) -> Any:
    """The id of a special token; several where several tokens do the same; or none."""
    return field(default=default, converter=_token_ids, validator=_token_id)


def _shared_evenly(config: "LlamaConfig", attribute: "Attribute[Any]", heads: int | None) -> None:
    """Raise ConfigError unless as many heads of queries share each head of keys and values."""
    if heads and config.num_attention_heads % heads:
        raise ConfigError(f"{attribute.name} ({heads}) must divide num_attention_heads ({config.num_attention_heads}).")


def shared_heads(default: int | None) -> Any:
    """Heads of keys and values, each shared by as many neighboring heads of queries; as many as those when null."""
    return _also(optional_size(default, most=100_000), _shared_evenly)


def _even(config: "LlamaConfig", _attribute: "Attribute[Any]", width: int | None) -> None:
    """Raise ConfigError unless heads divide the width, and have an even number of features."""
    heads = config.num_attention_heads
    if width is None and config.hidden_size % heads:
        raise ConfigError(f"num_attention_heads ({heads}) must divide hidden_size ({config.hidden_size}).")
    if config.head_width % 2:
        raise ConfigError(
            f"A head has {config.head_width} features (head_dim), where an even number is needed: positions turn them "
            f"in pairs."
        )


def head_size(default: int | None) -> Any:
    """Features of a head; when null, the heads split ``hidden_size`` evenly."""
    return _also(optional_size(default, most=1_000_000), _even)


def experts_of_a_token(default: int, *, of: str) -> Any:
    """Experts that compute a token, at most as many as the field ``of`` has, which comes before it."""

    def check(config: Any, attribute: "Attribute[Any]", number: Any) -> None:
        most = getattr(config, of)
        if type(number) is not int or not 1 <= number <= most:
            raise ConfigError(f"{attribute.name} must be a whole number from 1 to {of} ({most}), not {number!r}.")

    return field(default=default, validator=check)


def _also(attribute: Any, check: Any) -> Any:
    """The same field with another check after its own."""
    attribute.validator(check)
    return attribute


@frozen(kw_only=True)
class LlamaConfig(Config):
    """Sizes and rates of a Llama (Touvron et al., 2023); the defaults are the first one, of 7B parameters.

    Sizes count features, tokens or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "llama"
    model_type: ClassVar[str] = "llama"
    required_keys: ClassVar[tuple[str, ...]] = ("rms_norm_eps",)
    most_parameters: ClassVar[int] = 1_000_000_000_000

    vocab_size: int = size(32000)
    """Rows of the embedding."""
    hidden_size: int = size(4096, most=1_000_000)
    """Features per token."""
    intermediate_size: int = size(11008)
    """Features inside the feed-forward network of a block."""
    num_hidden_layers: int = size(32, most=10_000)
    """Blocks, one after the other."""
    num_attention_heads: int = size(32, most=100_000)
    """Heads of queries in each block."""
    num_key_value_heads: int | None = shared_heads(None)
    """Heads of keys and values, each shared by as many neighboring heads of queries; as many as those when null."""
    head_dim: int | None = head_size(None)
    """Features of a head; when null, the heads split ``hidden_size`` evenly."""
    hidden_act: str = choice("silu", ACTIVATIONS)
    """Activation of the gate in the feed-forward networks."""
    max_position_embeddings: int = size(2048)
    """Longest sequence, in tokens."""
    rope_theta: float = scale(10_000.0, most=1e12)
    """Base of the frequencies by which positions become angles."""
    rope_scaling: Mapping[str, Any] | None = rope_scaling()
    """How frequencies are scaled for sequences longer than those of the training: a kind and its numbers."""
    rms_norm_eps: float = scale(1e-6)
    """Added to the mean square in normalization."""
    attention_bias: bool = choice(False, (False, True))
    """Whether the projections of attention have a bias."""
    attention_dropout: float = rate(0.0)
    """Dropout of attention weights."""
    mlp_bias: bool = choice(False, (False, True))
    """Whether the projections of the feed-forward networks have a bias."""
    initializer_range: float = scale(0.02)
    """Standard deviation of the normal distribution that initializes weights."""
    tie_word_embeddings: bool = choice(False, (False, True))
    """Whether tokens are scored with the matrix that embeds them."""
    bos_token_id: int | tuple[int, ...] | None = token_id(1)
    """The token that begins a text."""
    eos_token_id: int | tuple[int, ...] | None = token_id(2)
    """The token, or the tokens, that end a text."""
    pad_token_id: int | tuple[int, ...] | None = token_id(None)
    """The token of padding."""

    # --- Derived

    @property
    def head_width(self) -> int:
        """Features of a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def num_experts(self) -> int:
        """Feed-forward networks of a block."""
        return 1

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block the number of tokens to which one attends; None for all before it."""
        return (None,) * self.num_hidden_layers

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and blocks, normalizations excluded."""
        attention = 2 * self.head_width * (self.num_attention_heads + self.key_value_heads)
        block = self.hidden_size * (attention + 3 * self.intermediate_size * self.num_experts)
        return self.hidden_size * self.vocab_size + self.num_hidden_layers * block

    # --- Files

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the keys of a published file; ``overrides`` replace fields.

        Files of transformers 5 have ``rope_parameters``, with the scaling and its base.  Raises
        ConfigError when a value is impossible, and UnknownOptionError when an override names no field.
        """
        return super().from_dict(with_older_keys(keys), **overrides)
