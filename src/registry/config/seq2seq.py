"""The configuration of models that answer texts."""

from typing import ClassVar

from attrs import frozen

from registry.config.config import Config
from registry.config.fields import optional_token


@frozen(kw_only=True)
class Seq2SeqConfig(Config):
    """Base class of the configurations of encoder-decoders: the tokens by which an answer begins and ends."""

    is_encoder_decoder: ClassVar[bool] = True

    pad_token_id: int | None = optional_token(None)
    """The token of padding."""
    eos_token_id: int | None = optional_token(None)
    """The token that ends a text."""
    decoder_start_token_id: int | None = optional_token(None)
    """The token that begins an answer."""
