"""The configuration of T5."""

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import Attribute, frozen

from registry.config.fields import ACTIVATIONS, choice, optional_size, optional_token, rate, scale, size
from registry.config.seq2seq import Seq2SeqConfig
from registry.errors import ConfigError

GATED = "gated-"
"""What begins the name of an activation whose feed-forward networks have a gate."""
GENERAL_NAMES = {"hidden_size": "d_model", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"}


@frozen(kw_only=True)
class T5Config(Seq2SeqConfig):
    """Sizes and rates of a T5 (Raffel et al., 2020); the defaults are T5-Small.

    Sizes count features, tokens or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "t5"
    model_type: ClassVar[str] = "t5"
    general_names: ClassVar[Mapping[str, str]] = GENERAL_NAMES

    vocab_size: int = size(32128)
    """Rows of the embedding."""
    d_model: int = size(512)
    """Features per token."""
    d_kv: int = size(64)
    """Features of a head."""
    d_ff: int = size(2048)
    """Features inside the feed-forward network of a block."""
    num_layers: int = size(6, most=10_000)
    """Blocks of the encoder."""
    num_decoder_layers: int | None = optional_size(None, most=10_000)
    """Blocks of the decoder; as many as the encoder has when null."""
    num_heads: int = size(8, most=100_000)
    """Heads of attention in each block."""
    relative_attention_num_buckets: int = size(32)
    """Classes of distances between two tokens, each of which has a bias; at least 4."""
    relative_attention_max_distance: int = size(128)
    """Distance from which on all are of one class."""
    dropout_rate: float = rate(0.1)
    """Dropout of features and of attention weights."""
    layer_norm_epsilon: float = scale(1e-6)
    """Added to the mean square in normalization."""
    initializer_factor: float = scale(1.0)
    """Multiplies all initial values."""
    feed_forward_proj: str = choice("relu", (*ACTIVATIONS, *(GATED + name for name in ACTIVATIONS)))
    """Activation in the feed-forward networks; ``gated-`` before it for those with a gate (Shazeer, 2020)."""
    tie_word_embeddings: bool = choice(True, (False, True))
    """Whether tokens are scored with the matrix that embeds them."""
    scale_decoder_outputs: bool | None = choice(None, (False, True), optional=True)
    """Whether features are scaled before tokens are scored; as ``tie_word_embeddings`` says when null.  False means a
    matrix of its own, too: transformers writes it with every T5 1.1, and then always ties."""
    pad_token_id: int | None = optional_token(0)
    eos_token_id: int | None = optional_token(1)
    decoder_start_token_id: int | None = optional_token(0)

    @relative_attention_max_distance.validator
    def _classes_differ(self, _attribute: "Attribute[Any]", distance: int) -> None:
        if not 4 <= self.relative_attention_num_buckets < 2 * distance:
            raise ConfigError(
                f"relative_attention_max_distance ({distance}) must be above half of relative_attention_num_buckets "
                f"({self.relative_attention_num_buckets}), of which there must be 4 or more."
            )

    @property
    def prefixes(self) -> dict[str, str]:
        """What begins a text for each task that a published model was trained to do: ``"summarize: "``."""
        tasks = self.extra.get("task_specific_params")
        return {name: task["prefix"] for name, task in tasks.items() if "prefix" in task} if tasks else {}

    @property
    def is_tied(self) -> bool:
        """Whether the head is the embedding."""
        return self.tie_word_embeddings and self.scale_decoder_outputs is not False

    @property
    def scales(self) -> bool:
        """Whether features are scaled before the head."""
        return self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs

    def num_backbone_parameters(self) -> int:
        """Parameters of encoder and decoder, without norms."""
        attention, gates = 4 * self.d_model * self.num_heads * self.d_kv, 2 + self.feed_forward_proj.startswith(GATED)
        decoder_layers = self.num_decoder_layers or self.num_layers
        layers = (self.num_layers + 2 * decoder_layers) * attention
        layers += (self.num_layers + decoder_layers) * gates * self.d_model * self.d_ff
        return self.vocab_size * self.d_model + layers
