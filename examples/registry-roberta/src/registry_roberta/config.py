"""The configuration of RoBERTa: that of BERT, with other defaults."""

from typing import ClassVar

from attrs import frozen

from registry.config.fields import optional_token, scale, size
from registry.zoo import BertConfig


@frozen(kw_only=True)
class RobertaConfig(BertConfig):
    """Sizes and rates of a RoBERTa; the defaults are RoBERTa-base."""

    architecture: ClassVar[str] = "roberta"
    model_type: ClassVar[str] = "roberta"

    vocab_size: int = size(50265)
    """Rows of the word embedding."""
    max_position_embeddings: int = size(514)
    """Rows of the embedding of positions: the longest sequence, and those up to the token of padding."""
    type_vocab_size: int = size(1)
    """Kinds of segments."""
    layer_norm_eps: float = scale(1e-5)
    """Added to the variance in layer normalization."""
    pad_token_id: int = optional_token(1)
    """The token of padding; positions are counted from the number after it."""
