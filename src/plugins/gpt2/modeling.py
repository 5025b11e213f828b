"""GPT-2: a causal language model (Radford et al., 2019, section 2.3), and a class for each task.

Modules and parameters have the names of the published files.

Axes:  B batch,  T new tokens,  H heads,  D width of a head.

``attend`` is causal attention, ``CausalState.attend_in(layer)`` of ``registry.nn.attention``.  ``TypedBackbone`` makes
one state for each call of ``forward``: from mask and cache it derives positions and the causal mask.  A layer gives its
queries, keys and values, ``(B, T, H, D)``, to ``attend``, which appends keys and values to the cache of that layer,
lets the new tokens attend to all cached ones and to themselves, and returns ``(B, T, H, D)``.  A block alone, without
cache and padding, takes ``causal_attention``.
"""

from typing import ClassVar

from torch import Tensor, nn

from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, CausalState, causal_attention
from registry.nn.heads import ChoiceHead, DoubleHeadsModel, LMHeadModel, TypedBackbone
from registry.nn.inputs import embed_ids, embed_tokens, tokens_of
from registry.nn.linear import Conv1D
from registry.nn.projections import separate
from registry.records import LazyRef

from .config import GPT2Config
from .weights import LAYOUT

# --- A block, upwards from its parts ----------------------------------------------------------------------------------


class GPT2Projection(Conv1D):
    """The last product of a sub-layer, which is added to the residual stream, and is initialized smaller."""


class GPT2Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.head_width = config.n_embd // config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = GPT2Projection(config.n_embd, config.n_embd)
        self.attn_dropout = config.attn_pdrop
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``, by ``attend``."""
        layer = self.c_attn
        query, key, value = separate(layer(x), self.head_width, layer)  # each (B, T, H, D)
        mixed = attend(query, key, value, dropout=self.attn_dropout if self.training else 0.0)  # (B, T, H, D)
        return self.resid_dropout(self.c_proj(mixed.flatten(-2)))  # (B, T, H * D)


class GPT2MLP(nn.Module):
    """Feed-forward network, applied to each token."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, config.inner_width)
        self.activation = ACTIVATION_FUNCTIONS[config.activation_function]
        self.c_proj = GPT2Projection(config.inner_width, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class GPT2Block(nn.Module):
    """Attention, then a feed-forward network, each normalized before and added after (pre-norm)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``; ``attend`` is causal attention, with the cache of this layer."""
        x = x + self.attn(self.ln_1(x), attend)
        return x + self.mlp(self.ln_2(x))


# --- The model --------------------------------------------------------------------------------------------------------


class GPT2PreTrainedModel(Model):
    """Base class of all GPT-2 models."""

    config_class = GPT2Config
    layout = LAYOUT
    block_classes = (GPT2Block,)
    former_order: ClassVar[tuple[str, ...]] = ("position_ids", "token_type_ids", "labels", "past_key_values")
    parallel_plan = LazyRef("plugins.gpt2.parallel:PLAN")

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns: matrices normally distributed, norms 1, biases 0."""
        std = self.config.initializer_range
        if isinstance(module, GPT2Projection):  # section 2.3: the stream must not grow with the number of what is added
            std /= (2 * self.config.n_layer) ** 0.5
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, Conv1D)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class GPT2Model(TypedBackbone, GPT2PreTrainedModel):
    """Embeddings, the blocks, and a last normalization."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.total_tokens_embeddings, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.init_weights()

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence, for which there are positions."""
        return len(self.wpe.weight)

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
        x = embed_tokens(self.wte, input_ids, inputs_embeds) + embed_ids(self.wpe, position_ids, "position_ids", like)
        if token_type_ids is not None:
            x = x + embed_ids(self.wte, token_type_ids, "token_type_ids")
        return self.drop(x)

    def transform(self, x: Tensor, position_ids: Tensor, state: CausalState) -> Tensor:  # noqa: ARG002  # in ``x``
        """The blocks, one after the other, and a last normalization."""
        for number, block in enumerate(self.h):
            x = block(state.keep(x), state.attend_in(number))
        return self.ln_f(x)


# --- One class for each task ------------------------------------------------------------------------------------------


class GPT2WithLMHead(GPT2PreTrainedModel):
    """The model and a head that scores tokens with the matrix that embeds them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.total_tokens_embeddings, bias=False)
        self.lm_head.weight = self.transformer.wte.weight


class GPT2LMHeadModel(LMHeadModel, GPT2WithLMHead):
    """GPT-2 with a language model head."""


class GPT2DoubleHeadsModel(DoubleHeadsModel, GPT2WithLMHead):
    """GPT-2 with a language model head and a multiple-choice head."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.multiple_choice_head = ChoiceHead(config.n_embd, config.summary_first_dropout).apply(self.init_module)
