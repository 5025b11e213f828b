"""GPT: a causal language model (Radford et al., 2018, section 3.1), and a class for each task.

Modules and parameters have the names of the published files.

Axes:  B batch,  T new tokens,  H heads,  D width of a head.

``attend`` is causal attention, ``CausalState.attend_in(layer)`` of ``registry.nn.attention``.  ``TypedBackbone`` makes
one state for each call of ``forward``: from mask and cache it derives positions and the causal mask.  A layer gives its
queries, keys and values, ``(B, T, H, D)``, to ``attend``, which appends keys and values to the cache of that layer,
lets the new tokens attend to all cached ones and to themselves, and returns ``(B, T, H, D)``.  A block alone, without
cache and padding, takes ``causal_attention``.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, CausalState, causal_attention
from registry.nn.heads import ChoiceHead, DoubleHeadsModel, LMHeadModel, SequenceClassifier, TypedBackbone
from registry.nn.inputs import embed_ids, embed_tokens, tokens_of
from registry.nn.linear import Conv1D
from registry.nn.mixins.vocabulary import refuse_without_rows
from registry.nn.projections import separate
from registry.records import LazyRef

from .config import OpenAIGPTConfig
from .weights import LAYOUT

# --- A block, upwards from its parts ----------------------------------------------------------------------------------

ACTIVATIONS = {**ACTIVATION_FUNCTIONS, "gelu": ACTIVATION_FUNCTIONS["gelu_new"]}
"""Activation functions, by the names in GPT's files: their ``gelu`` is the approximation (tanh)."""


class OpenAIGPTAttention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.head_width = config.n_embd // config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout = config.attn_pdrop
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``, by ``attend``."""
        layer = self.c_attn
        query, key, value = separate(layer(x), self.head_width, layer)  # each (B, T, H, D)
        mixed = attend(query, key, value, dropout=self.attn_dropout if self.training else 0.0)  # (B, T, H, D)
        return self.resid_dropout(self.c_proj(mixed.flatten(-2)))  # (B, T, H * D)


class OpenAIGPTMLP(nn.Module):
    """Feed-forward network, applied to each token."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.activation = ACTIVATIONS[config.afn]
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class OpenAIGPTBlock(nn.Module):
    """Attention, then a feed-forward network, each added to its input and normalized after that (post-norm)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.attn = OpenAIGPTAttention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = OpenAIGPTMLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``; ``attend`` is causal attention, with the cache of this layer."""
        x = self.ln_1(x + self.attn(x, attend))
        return self.ln_2(x + self.mlp(x))


# --- The model --------------------------------------------------------------------------------------------------------


class OpenAIGPTPreTrainedModel(Model):
    """Base class of all GPT models."""

    config_class = OpenAIGPTConfig
    layout = LAYOUT
    block_classes = (OpenAIGPTBlock,)
    former_order: ClassVar[tuple[str, ...]] = ("position_ids", "token_type_ids", "labels", "past_key_values")
    parallel_plan = LazyRef("plugins.gpt.parallel:PLAN")

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns: matrices normally distributed, norms 1, biases 0."""
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, Conv1D)) and module.bias is not None:
            nn.init.zeros_(module.bias)

    @abstractmethod
    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens after the vocabulary: kept ones keep their rows, new ones are initialized.

        Raises ConfigError when ``number`` is not a count.
        """

    def after_loading(self, *, num_special_tokens: int | None = None) -> None:
        """Make room for ``num_special_tokens`` after the vocabulary, where loading is given that keyword."""
        if num_special_tokens is not None:
            self.set_num_special_tokens(num_special_tokens)


class OpenAIGPTModel(TypedBackbone, OpenAIGPTPreTrainedModel):
    """Embeddings and the blocks."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.total_tokens_embeddings, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(OpenAIGPTBlock(config) for _ in range(config.n_layer))
        self.init_weights()

    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens after the vocabulary: kept ones keep their rows, new ones are initialized."""
        if number == self.config.n_special:
            return
        refuse_without_rows(self.tokens_embed._parameters["weight"], "tokens_embed.weight")
        self.config = self.config.replace(n_special=number)
        before = self.tokens_embed.weight
        rows, width = self.config.total_tokens_embeddings, before.shape[1]
        self.tokens_embed = nn.Embedding(rows, width, device=before.device, dtype=before.dtype)
        self.init_module(self.tokens_embed)
        self.tokens_embed.requires_grad_(before.requires_grad)
        with torch.no_grad():
            self.tokens_embed.weight[: len(before)] = before[:rows]

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence, for which there are positions."""
        return len(self.positions_embed.weight)

    @property
    def num_layers(self) -> int:
        """Layers with keys and values."""
        return len(self.h)

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """The sum of the embeddings of tokens, positions and types; types are tokens, from the same table."""
        like = tokens_of(input_ids, inputs_embeds)
        x = embed_tokens(self.tokens_embed, input_ids, inputs_embeds)
        x = x + embed_ids(self.positions_embed, position_ids, "position_ids", like)
        if token_type_ids is not None:
            x = x + embed_ids(self.tokens_embed, token_type_ids, "token_type_ids")
        return self.drop(x)

    def transform(self, x: Tensor, position_ids: Tensor, state: CausalState) -> Tensor:  # noqa: ARG002  # in ``x``
        """The blocks, one after the other."""
        for number, block in enumerate(self.h):
            x = block(state.keep(x), state.attend_in(number))
        return x


# --- One class for each task ------------------------------------------------------------------------------------------


class OpenAIGPTWithLMHead(OpenAIGPTPreTrainedModel):
    """The model and a head that scores tokens with the matrix that embeds them."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.total_tokens_embeddings, bias=False)
        self._tie()

    def _tie(self) -> None:
        self.lm_head.weight = self.transformer.tokens_embed.weight
        self.lm_head.out_features = len(self.lm_head.weight)

    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens after the vocabulary: kept ones keep their rows, new ones are initialized."""
        self.transformer.set_num_special_tokens(number)
        self.config = self.transformer.config
        self._tie()


class OpenAIGPTLMHeadModel(LMHeadModel, OpenAIGPTWithLMHead):
    """GPT with a language model head."""


class OpenAIGPTDoubleHeadsModel(DoubleHeadsModel, OpenAIGPTWithLMHead):
    """GPT with a language model head and a multiple-choice head."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.multiple_choice_head = ChoiceHead(config.n_embd, config.summary_first_dropout).apply(self.init_module)


class OpenAIGPTForSequenceClassification(SequenceClassifier, OpenAIGPTPreTrainedModel):
    """GPT with a classifier of a text, by its last token; ``problem_type`` says of which kind."""

    def __init__(self, config: OpenAIGPTConfig, num_labels: int | None = None) -> None:
        config = config if num_labels in (None, config.num_labels) else config.replace(num_labels=num_labels)
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False).apply(self.init_module)

    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens after the vocabulary: kept ones keep their rows, new ones are initialized."""
        self.transformer.set_num_special_tokens(number)
        self.config = self.transformer.config
