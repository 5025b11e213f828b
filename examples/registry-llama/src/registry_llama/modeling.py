"""Llama: a causal language model (Touvron et al., 2023, section 2.2), and a class for each task.

Modules and parameters have the names of the published files.

Axes:  B batch,  T new tokens,  H heads,  D width of a head.

``attend`` is causal attention, ``CausalState.attend_in(layer)`` of ``registry.nn.attention``, which appends keys and
values to the cache of the layer; ``at`` are the angles of the positions, by which queries and keys are rotated.
"""

from typing import Any, ClassVar

from attrs import evolve
from torch import Tensor, nn

from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, CausalState, causal_attention
from registry.nn.feed_forward import Experts, GatedFeedForward
from registry.nn.heads import CausalBackbone, CausalLM
from registry.nn.inputs import embed_tokens
from registry.nn.norms import RMSNorm
from registry.nn.projections import check_heads
from registry.nn.rotary import Angles, rotary_angles, rotate
from registry.weights.names import Layout

from .config import LlamaConfig
from .parallel import PLAN
from .weights import TIES, UNTIED

# --- A block, upwards from its parts ----------------------------------------------------------------------------------


class LlamaAttention(nn.Module):
    """Causal multi-head self-attention with rotary positions; heads share keys and values (Ainslie et al., 2023)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, bias = config.head_width, config.attention_bias
        self.head_width = width
        self.share = config.num_attention_heads // config.key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * width, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, config.key_value_heads * width, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, config.key_value_heads * width, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * width, config.hidden_size, bias=bias)
        self.dropout = config.attention_dropout

    def forward(self, x: Tensor, at: Angles, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``, which are at these angles, by ``attend``."""
        query, key, value = self.project(x)
        check_heads(query, key, value, self.share)
        mixed = attend(rotate(query, at), rotate(key, at), value, dropout=self.dropout if self.training else 0.0)
        return self.o_proj(mixed.flatten(-2))  # (B, T, H * D)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of ``x``, each ``(B, T, H, D)``; keys and values may have fewer heads."""
        query, key, value = (
            projection(x).unflatten(-1, (-1, self.head_width)) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return query, key, value


class LlamaMLP(GatedFeedForward):
    """Gated feed-forward network (SwiGLU)."""

    def __init__(self, config: LlamaConfig) -> None:
        activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        super().__init__(config.hidden_size, config.intermediate_size, activation, bias=config.mlp_bias)


class LlamaDecoderLayer(nn.Module):
    """Attention, then a feed-forward network, each normalized before and added after (pre-norm).

    An architecture whose attention or feed-forward network is another one derives its class, and names theirs.
    """

    attention_class: ClassVar[type[nn.Module]] = LlamaAttention
    mlp_class: ClassVar[type[nn.Module]] = LlamaMLP

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = self.attention_class(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = self.mlp_class(config)

    def forward(self, x: Tensor, at: Angles, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``, whose tokens are at these angles."""
        x = x + self.self_attn(self.input_layernorm(x), at, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


# --- The model --------------------------------------------------------------------------------------------------------


class LlamaPreTrainedModel(Model):
    """Base class of all Llama models, and of those that differ in a block."""

    config_class: ClassVar[type[LlamaConfig]] = LlamaConfig
    layout = UNTIED
    block_classes: ClassVar[tuple[type[nn.Module], ...]] = (LlamaDecoderLayer,)
    parallel_plan = PLAN

    @classmethod
    def layout_of(cls, config: Any) -> Layout:
        """How the weights of a model with this configuration are named, and which are tied."""
        return evolve(cls.layout, ties=TIES if config.tie_word_embeddings else ())

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns: matrices normally distributed, norms 1, biases 0."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, Experts):
            nn.init.normal_(module.gate_up_proj, std=self.config.initializer_range)
            nn.init.normal_(module.down_proj, std=self.config.initializer_range)
        if isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class LlamaModel(CausalBackbone, LlamaPreTrainedModel):
    """Embeddings, the blocks, and a last normalization."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        (block,) = self.block_classes
        self.layers = nn.ModuleList(block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.init_weights()

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.config.max_position_embeddings)

    @property
    def num_layers(self) -> int:
        """Layers with keys and values."""
        return len(self.layers)

    def embed(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        position_ids: Tensor,  # noqa: ARG002  # rotations in each block
    ) -> Tensor:
        """The embeddings of tokens."""
        return embed_tokens(self.embed_tokens, input_ids, inputs_embeds)

    def transform(self, x: Tensor, position_ids: Tensor, state: CausalState) -> Tensor:
        """The blocks, one after the other, and a last normalization."""
        config = self.config
        at = rotary_angles(
            position_ids,
            x.dtype,
            width=config.head_width,
            theta=config.rope_theta,
            longest=config.max_position_embeddings,
            scaling=config.rope_scaling,
        )
        for number, (layer, window) in enumerate(zip(self.layers, config.windows, strict=True)):
            x = layer(state.keep(x), at, state.attend_in(number, window=window))
        return self.norm(x)


# --- One class for each task ------------------------------------------------------------------------------------------


class LlamaForCausalLM(CausalLM, LlamaPreTrainedModel):
    """Llama with a language model head."""

    backbone_name = "model"
    model_class: ClassVar[type[LlamaModel]] = LlamaModel

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = self.model_class(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        else:
            self.lm_head.apply(self.init_module)
