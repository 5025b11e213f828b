"""The configuration of GPT."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

from attrs import Factory, frozen

from registry.config import Config
from registry.config.fields import any_token, choice, count, divisor, problem_type, rate, scale, size


@frozen(kw_only=True)
class OpenAIGPTConfig(Config):
    """Sizes and rates of a GPT (Radford et al., 2018); the defaults are the published model.

    Sizes count features, tokens or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "gpt"
    model_type: ClassVar[str] = "openai-gpt"
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
            "double-heads": (
                *("summary_first_dropout", "summary_type", "summary_use_proj", "summary_proj_to_labels"),
                "summary_activation",
            ),
        }
    )
    required_keys: ClassVar[tuple[str, ...]] = ("afn",)

    vocab_size: int = size(40478)
    """Tokens that the tokenizer makes of text."""
    n_special: int = count(0)
    """Special tokens, embedded after the vocabulary."""
    n_positions: int = size(512)
    """Longest sequence, in tokens."""
    n_ctx: int = size(Factory(lambda config: config.n_positions, takes_self=True))
    """The same number by another name, which files of 2019 need; nothing is computed from it."""
    n_embd: int = size(768, most=1_000_000)
    """Features per token; the heads split it evenly, and the feed-forward networks have four times as many inside."""
    n_layer: int = size(12, most=10_000)
    """Blocks, one after the other."""
    n_head: int = divisor(12, of="n_embd", most=100_000)
    """Attention heads of each block."""
    afn: str = choice("gelu", ("gelu", "relu", "silu", "swish"))
    """Activation of the feed-forward networks; ``gelu``, here, is OpenAI's approximation (tanh)."""
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

    def with_vocabulary(self, rows: int) -> Self:
        """The configuration of a model whose embedding has so many rows, all of them the vocabulary's."""
        return self.replace(vocab_size=rows, n_special=0)

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and blocks, biases and normalizations excluded."""
        embedded = self.total_tokens_embeddings + self.n_positions
        return self.n_embd * (embedded + 12 * self.n_layer * self.n_embd)
