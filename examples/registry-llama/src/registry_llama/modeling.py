"""Llama: a causal language model (Touvron et al., 2023, section 2.2), and a class for each task.

Modules and parameters bear the names of the published files.

Axes:  B batch,  T tokens,  H heads,  D width of a head.
"""

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend
from registry.nn.cache import KeyValueCache, KeyValues, Past
from registry.nn.causal import CausalStateWithWeights, Context, causal_attention
from registry.nn.inputs import check_shape, embed_ids, with_keywords_of
from registry.nn.losses import next_token_loss
from registry.nn.onednn import Linear
from registry.nn.outputs import CausalLMOutput, DecoderOutput
from registry.weights.names import Layout

from .config import LlamaConfig
from .rotary import Turns, turn, turns
from .weights import APART, TIED

# --- A block, upwards from its parts ----------------------------------------------------------------------------------


class LlamaRMSNorm(nn.Module):
    """Features divided by their root mean square (Zhang and Sennrich, 2019), which is taken in 32 bits."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., width)``."""
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class LlamaAttention(nn.Module):
    """Every token attends to itself and to those before it; several heads share one of keys and values.

    (Ainslie et al., 2023.)
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, bias = config.head_width, config.attention_bias
        self.head_width = width
        self.q_proj = Linear(config.hidden_size, config.num_attention_heads * width, bias=bias)
        self.k_proj = Linear(config.hidden_size, config.answering_heads * width, bias=bias)
        self.v_proj = Linear(config.hidden_size, config.answering_heads * width, bias=bias)
        self.o_proj = Linear(config.num_attention_heads * width, config.hidden_size, bias=bias)
        self.dropout = config.attention_dropout

    def forward(self, x: Tensor, by: Turns, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``, which are turned ``by`` their positions.

        ``attend`` knows what stands before them.
        """
        query, key, value = (
            projection(x).unflatten(-1, (-1, self.head_width)) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # each BTHD
        mixed = attend(turn(query, by), turn(key, by), value, dropout=self.dropout if self.training else 0.0)
        return self.o_proj(mixed.flatten(-2))


class LlamaMLP(nn.Module):
    """A feed-forward net, wide inside, of which one half gates the other (SwiGLU; Shazeer, 2020)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class LlamaDecoderLayer(nn.Module):
    """Attention, then a feed-forward net, each normalised before and added after (pre-norm)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = LlamaRMSNorm(config)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = LlamaRMSNorm(config)
        self.mlp = LlamaMLP(config)

    def forward(self, x: Tensor, by: Turns, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``, whose tokens are turned ``by`` their positions."""
        x = x + self.self_attn(self.input_layernorm(x), by, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


# --- The model --------------------------------------------------------------------------------------------------------


class LlamaPreTrainedModel(Model):
    """What all classes of Llama have in common."""

    config_class = LlamaConfig
    layout = APART

    @classmethod
    def layout_of(cls, config: Any) -> Layout:
        """How the weights of a model with this configuration are named, and which are tied."""
        return TIED if config.tie_word_embeddings else APART

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, LlamaRMSNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class LlamaInputs(TypedDict, total=False):
    """The keywords of ``LlamaModel``, which every head takes as well."""

    attention_mask: Tensor | None
    position_ids: Tensor | None
    past_key_values: Past | Iterable[KeyValues] | None
    output_hidden_states: bool
    output_attentions: bool


class LlamaModel(LlamaPreTrainedModel):
    """Embeddings, the blocks, and a last normalisation."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaDecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Past | Iterable[KeyValues] | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> DecoderOutput:
        """Read ids of shape ``(..., tokens)``, behind those which ``past_key_values`` remember.

        ``attention_mask``
            Of the shape ``(..., tokens so far)``, 1 at tokens and 0 at padding, of any type; it may stand anywhere.
        ``position_ids``
            Of the shape of the ids, or ``(tokens,)``; unless given, the number of tokens before each, padding not
            counted.
        ``past_key_values``
            What an earlier call returned under this name, or a ``KeyValueCache``, which is written to.
        ``output_hidden_states``, ``output_attentions``
            Whether to return these too; the latter computes attention the slow way.

        Raises InputError when a shape does not fit, a sequence is too long, or an id is unknown.
        """
        context = (CausalStateWithWeights if output_attentions else Context)(input_ids, attention_mask, past_key_values)
        if position_ids is None:
            self._check_length(context.length)
            position_ids = context.positions(input_ids.device)
        elif position_ids.dim() > 1:
            check_shape(position_ids, input_ids, "position_ids")
        x = context.flat(embed_ids(self.embed_tokens, input_ids, "input_ids"))
        by = turns(self.config, position_ids, x.dtype)
        states = []
        for layer in self.layers:
            if output_hidden_states:
                states.append(context.restore(x))
            x = layer(x, by, context.attend)
        x = context.restore(self.norm(x))
        return DecoderOutput(
            last_hidden_state=x,
            past_key_values=context.past_key_values,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=context.attentions,
        )

    def _check_length(self, tokens: int) -> None:
        longest = self.config.max_position_embeddings
        if tokens > longest:
            raise InputError(
                f"A sequence of {tokens} tokens is too long: this model was trained on up to {longest}.",
                hint="Cut it with tokenizer(text, truncation=True), or give position_ids of your own.",
            )


# --- One class for each task ------------------------------------------------------------------------------------------


class LlamaForCausalLM(LlamaPreTrainedModel):
    """The token that comes next."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        else:
            self.lm_head.apply(self._init)

    @with_keywords_of(LlamaModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[LlamaInputs]
    ) -> CausalLMOutput:
        """Score every token of the vocabulary behind each token of ``(..., tokens)``.

        ``labels``, of the same shape, are the ids themselves, which are shifted here; negative ones are not predicted.
        """
        read = self.model(input_ids, **inputs)
        logits = self.lm_head(read.last_hidden_state)
        loss = None if labels is None else next_token_loss(logits, labels, inputs.get("attention_mask"))
        return CausalLMOutput(loss, logits, *read[1:])

    # --- What decoding asks

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.config.max_position_embeddings)

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for ``batch`` sequences of up to ``capacity`` tokens."""
        weight = self.model.embed_tokens.weight
        return KeyValueCache(
            layers=len(self.model.layers),
            batch=batch,
            heads=self.config.answering_heads,
            width=self.config.head_width,
            capacity=capacity,
            dtype=weight.dtype,
            device=weight.device,
        )

    def score(
        self,
        input_ids: Tensor,
        cache: KeyValueCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Read ids, ``(batch, new tokens)``, into ``cache``, and score what follows the last: ``(batch, vocabulary)``.

        ``attention_mask`` is ``(batch, tokens so far)``, the new ones included, and zero at padding.
        """
        read = self.model(input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache)
        scores: Tensor = self.lm_head(read.last_hidden_state[:, -1])
        return scores
