"""The configuration of GPT-2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

from attrs import Factory, frozen

from registry.config import Config
from registry.config.fields import (
    ACTIVATIONS,
    any_token,
    choice,
    count,
    divisor,
    optional_rate,
    optional_size,
    problem_type,
    rate,
    scale,
    size,
)


@frozen(kw_only=True)
class GPT2Config(Config):
    """Sizes and rates of a GPT-2 (Radford et al., 2019); the defaults are the smallest model, of 124M parameters.

    Sizes count features, tokens or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "gpt2"
    model_type: ClassVar[str] = "gpt2"
    general_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "hidden_size": "n_embd",
            "max_position_embeddings": "n_positions",
            "num_attention_heads": "n_head",
            "num_hidden_layers": "n_layer",
        }
    )
    most_parameters: ClassVar[int] = 20_000_000_000
    head_fields: ClassVar[tuple[str, ...]] = (*Config.head_fields, "tie_word_embeddings")
    task_fields: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "sequence-classification": ("problem_type",),
            "token-classification": ("classifier_dropout",),
            "double-heads": (
                *("summary_first_dropout", "summary_type", "summary_use_proj", "summary_proj_to_labels"),
                "summary_activation",
            ),
        }
    )

    vocab_size: int = size(50257)
    """Tokens that the tokenizer makes of text, the end of a text among them."""
    n_special: int = count(0)
    """Further tokens, embedded after the vocabulary."""
    n_positions: int = size(1024)
    """Longest sequence, in tokens."""
    n_ctx: int = size(Factory(lambda config: config.n_positions, takes_self=True))
    """The same number by an older name, which files of 2019 need; nothing is computed from it."""
    n_embd: int = size(768, most=1_000_000)
    """Features per token; the heads split it evenly."""
    n_layer: int = size(12, most=10_000)
    """Blocks, one after the other."""
    n_head: int = divisor(12, of="n_embd", most=100_000)
    """Attention heads of each block."""
    n_inner: int | None = optional_size(None)
    """Features inside the feed-forward network of a block; four times ``n_embd`` when null."""
    activation_function: str = choice("gelu_new", ACTIVATIONS)
    """Activation of the feed-forward networks; ``gelu_new`` is OpenAI's approximation (tanh)."""
    resid_pdrop: float = rate(0.1)
    """Dropout of what every sub-layer adds."""
    embd_pdrop: float = rate(0.1)
    """Dropout of embeddings."""
    attn_pdrop: float = rate(0.1)
    """Dropout of attention weights."""
    layer_norm_epsilon: float = scale(1e-5)
    """Added to the variance in layer normalization."""
    initializer_range: float = scale(0.02)
    """Standard deviation of the normal distribution that initializes weights."""
    summary_first_dropout: float = rate(0.1)
    """Dropout before the choice head."""
    summary_type: str = choice("cls_index", ("cls_index", "token_ids"))
    """The choice head reads the tokens in ``mc_token_ids``; ``token_ids`` means the same in files of 2019."""
    summary_use_proj: bool = choice(True, (True,))
    """The choice head is a linear layer."""
    summary_proj_to_labels: bool = choice(True, (True,))
    """It gives one number."""
    summary_activation: str | None = choice(None, (None,))
    """Nothing comes after it."""
    scale_attn_weights: bool = choice(True, (True,))
    """Scores of attention are divided by the root of a head's width."""
    scale_attn_by_inverse_layer_idx: bool = choice(False, (False,))
    """They are not divided by the number of the layer; a file that asks for it would get wrong numbers."""
    add_cross_attention: bool = choice(False, (False,))
    """There is no second sequence to attend to."""
    classifier_dropout: float | None = optional_rate(None)
    """Dropout before the classifier of tokens; 0.1 when null, as in transformers."""
    problem_type: str | None = problem_type()
    """What a classifier of texts predicts: numbers, one label of each text, or several; null for what labels show."""
    pad_token_id: int | None = any_token(None)
    """The token of padding, which a classifier of texts does not take for the last; null where there is none."""
    tie_word_embeddings: bool = choice(True, (True,))
    """Tokens are scored with the matrix that embeds them."""

    @property
    def total_tokens_embeddings(self) -> int:
        """Rows of the embedding."""
        return self.vocab_size + self.n_special

    @property
    def inner_width(self) -> int:
        """Features inside the feed-forward network of a block."""
        return self.n_inner or 4 * self.n_embd

    def with_vocabulary(self, rows: int) -> Self:
        """The configuration of a model whose embedding has so many rows, all of them the vocabulary's."""
        return self.replace(vocab_size=rows, n_special=0)

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and blocks, biases and normalizations excluded."""
        embedded = self.total_tokens_embeddings + self.n_positions
        return self.n_embd * (embedded + self.n_layer * (4 * self.n_embd + 2 * self.inner_width))
