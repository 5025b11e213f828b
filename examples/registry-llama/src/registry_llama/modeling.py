"""Llama: a causal language model (Touvron et al., 2023, section 2.2), and a class for each task.

Modules and parameters have the names of the published files.

Axes:  B batch,  T new tokens,  H heads,  D width of a head.

``attend`` is causal attention, ``CausalState.attend_in(layer)`` of ``registry.nn.attention``, which appends keys and
values to the cache of the layer; ``at`` are the angles of the positions, by which queries and keys are rotated.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from attrs import evolve
from torch import Tensor, nn

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, CausalState, CausalStateWithWeights, causal_attention
from registry.nn.cache import KeyValueCache, KeyValues, cache_after
from registry.nn.experts import Experts
from registry.nn.heads import CausalLM
from registry.nn.inputs import check_shape, embed_tokens, tokens_of
from registry.nn.outputs import CausalLMOutput, DecoderOutput
from registry.nn.projections import check_heads
from registry.weights.names import Layout

from .config import LlamaConfig
from .parallel import PLAN
from .rotary import Angles, angles, rotate
from .weights import TIES, UNTIED

# --- A block, upwards from its parts ----------------------------------------------------------------------------------


class LlamaRMSNorm(nn.Module):
    """Root mean square normalization (Zhang and Sennrich, 2019), computed in 32 bits."""

    def __init__(self, config: LlamaConfig, width: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width or config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(..., width)``."""
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


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


class LlamaMLP(nn.Module):
    """Gated feed-forward network (SwiGLU; Shazeer, 2020)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class LlamaDecoderLayer(nn.Module):
    """Attention, then a feed-forward network, each normalized before and added after (pre-norm).

    An architecture whose attention or feed-forward network is another one derives its class, and names theirs.
    """

    attention_class: ClassVar[type[nn.Module]] = LlamaAttention
    mlp_class: ClassVar[type[nn.Module]] = LlamaMLP

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = LlamaRMSNorm(config)
        self.self_attn = self.attention_class(config)
        self.post_attention_layernorm = LlamaRMSNorm(config)
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
        if isinstance(module, LlamaRMSNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class LlamaModel(LlamaPreTrainedModel):
    """Embeddings, the blocks, and a last normalization."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        (block,) = self.block_classes
        self.layers = nn.ModuleList(block(config) for _ in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config)
        self.init_weights()

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.config.max_position_embeddings)

    @property
    def num_layers(self) -> int:
        """Layers with keys and values."""
        return len(self.layers)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> DecoderOutput:
        """Read tokens, after those in ``past_key_values``.

        Args:
            input_ids: ``(..., tokens)``.
            attention_mask: ``(..., tokens so far)``, 1 at tokens and 0 at padding, which may be anywhere; of any type.
            position_ids: Of the shape of the ids, or ``(tokens,)``; unless given, the number of tokens before each,
                padding not counted.
            inputs_embeds: Embeddings in place of the ids, ``(..., tokens, width)``, of ``get_input_embeddings()``.
            past_key_values: What an earlier call returned under this name, or a ``StaticKeyValueCache``, which is
                written to.
            use_cache: Whether to return keys and values.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states, ``(..., tokens, width)``, keys and values, and what was asked for.

        Raises:
            InputError: A shape does not fit, a sequence is too long, or an id is unknown.
        """
        kind = CausalStateWithWeights if output_attentions else CausalState
        tokens = tokens_of(input_ids, inputs_embeds)
        state = kind(tokens, attention_mask, cache_after(past_key_values, use_cache))
        if position_ids is None:
            self._check_length(state.length)
            position_ids = state.positions(tokens.device)
        elif position_ids.dim() > 1:
            check_shape(position_ids, tokens, "position_ids")
        x = state.flat(embed_tokens(self.embed_tokens, input_ids, inputs_embeds))
        at = angles(self.config, position_ids, x.dtype)
        hidden_states = []
        for number, (layer, window) in enumerate(zip(self.layers, self.config.windows, strict=True)):
            if output_hidden_states:
                shown, x = state.show(x)
                hidden_states.append(shown)
            x = layer(x, at, state.attend_in(number, window=window))
        x = state.restore(self.norm(x))
        return DecoderOutput(
            last_hidden_state=x,
            past_key_values=state.past_key_values if use_cache else None,
            hidden_states=(*hidden_states, x) if output_hidden_states else None,
            attentions=state.attentions,
        )

    def _check_length(self, tokens: int) -> None:
        longest = self.context_size
        if tokens > longest:
            raise InputError(
                f"A sequence of {tokens} tokens is too long: this model was trained on up to {longest}.",
                hint="Cut it with tokenizer(text, truncation=True), or give position_ids of your own.",
            )


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

    def forward(  # noqa: D417  # the others are those of LlamaModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> CausalLMOutput:
        """Logits of the next token after each token.

        Takes the arguments of ``LlamaModel``, and these.

        Args:
            labels: The ids themselves, ``(..., tokens)``, which are shifted here; negative ones are not predicted.

        Returns:
            Logits, ``(..., tokens, vocabulary)``, and with labels the loss.
        """
        read = self.model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        return self.predict(read, labels, attention_mask)
