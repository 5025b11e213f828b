"""The configuration of BERT."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from attrs import frozen

from registry.config import Config
from registry.config.fields import (
    ACTIVATIONS,
    choice,
    divisor,
    optional_rate,
    optional_token,
    problem_type,
    rate,
    scale,
    size,
)


@frozen(kw_only=True)
class BertConfig(Config):
    """Sizes and rates of a BERT encoder (Devlin et al., 2018); the defaults are BERT-Base, uncased.

    Sizes count features, tokens or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "bert"
    model_type: ClassVar[str] = "bert"
    most_parameters: ClassVar[int] = 20_000_000_000
    head_fields: ClassVar[tuple[str, ...]] = (*Config.head_fields, "classifier_dropout", "tie_word_embeddings")
    task_fields: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"sequence-classification": ("problem_type",)}
    )

    vocab_size: int = size(30522)
    """Rows of the word embedding."""
    hidden_size: int = size(768, most=1_000_000)
    """Features per token; the heads split it evenly."""
    num_hidden_layers: int = size(12, most=10_000)
    """Encoder layers, one after the other."""
    num_attention_heads: int = divisor(12, of="hidden_size", most=100_000)
    """Attention heads of each layer."""
    intermediate_size: int = size(3072)
    """Features inside the feed-forward network of a layer."""
    hidden_act: str = choice("gelu", ACTIVATIONS)
    """Activation of the feed-forward networks and the masked language model head; ``gelu`` is the exact one (erf)."""
    hidden_dropout_prob: float = rate(0.1)
    """Dropout of embeddings, of the output of every sub-layer, and before classifiers."""
    attention_probs_dropout_prob: float = rate(0.1)
    """Dropout of attention weights."""
    max_position_embeddings: int = size(512)
    """Longest sequence, in tokens."""
    type_vocab_size: int = size(2)
    """Kinds of segments: the first and the second sentence."""
    initializer_range: float = scale(0.02)
    """Standard deviation of the normal distribution that initializes weights."""
    layer_norm_eps: float = scale(1e-12)
    """Added to the variance in layer normalization; 1e-12 in Google's release and all that derive from it."""
    pad_token_id: int | None = optional_token(0)
    """The token of padding, whose embedding gets no gradient; null where there is none."""
    classifier_dropout: float | None = optional_rate(None)
    """Dropout before classifiers; ``hidden_dropout_prob`` when null."""
    problem_type: str | None = problem_type()
    """What a classifier of texts predicts: numbers, one label of each text, or several; null for what labels show."""
    position_embedding_type: str = choice("absolute", ("absolute",), optional=True)
    """Positions are learned and absolute; the relative kinds of other libraries are refused."""
    is_decoder: bool = choice(False, (False,))
    """An encoder sees both directions; a file that asks for a causal mask would get wrong numbers, and is refused."""
    add_cross_attention: bool = choice(False, (False,))
    """There is no second sequence to attend to."""
    tie_word_embeddings: bool = choice(True, (True,))
    """The masked language model head shares the matrix that embeds words."""

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and layers, biases and normalizations excluded."""
        embedded = self.vocab_size + self.max_position_embeddings + self.type_vocab_size
        layer = 4 * self.hidden_size + 2 * self.intermediate_size
        return self.hidden_size * (embedded + self.num_hidden_layers * layer)
