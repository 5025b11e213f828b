"""GPT: a causal language model (Radford et al., 2018, section 3.1), and a class for each task.

Modules and parameters bear the names of the published files.

Axes:  B batch,  T tokens,  H heads,  D width of a head.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from registry.config import Config
from registry.loading.model import LoadOptions, Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend
from registry.nn.cache import KeyValueCache, KeyValues, Past
from registry.nn.causal import CausalStateWithWeights, Context, causal_attention
from registry.nn.choice import ChoiceHead, last_tokens
from registry.nn.conv1d import Conv1D
from registry.nn.inputs import check_length, check_shape, embed_ids, with_keywords_of
from registry.nn.losses import classification_loss, next_token_loss
from registry.nn.onednn import Linear
from registry.nn.outputs import CausalLMOutput, DecoderOutput, DoubleHeadsOutput
from registry.sources.resolve import Source

from .config import OpenAIGPTConfig
from .weights import LAYOUT

# --- A block, upwards from its parts ----------------------------------------------------------------------------------

ACTIVATIONS = {**ACTIVATION_FUNCTIONS, "gelu": ACTIVATION_FUNCTIONS["gelu_new"]}
"""Activation functions, by the names in GPT's files: their ``gelu`` is the approximation (tanh)."""


class OpenAIGPTAttention(nn.Module):
    """Every token attends to itself and to those before it, with several heads."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.num_heads = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout = config.attn_pdrop
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``; ``attend`` knows what stands before them."""
        query, key, value = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)  # each BTHD
        mixed = attend(query, key, value, dropout=self.attn_dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(mixed.flatten(-2)))


class OpenAIGPTMLP(nn.Module):
    """A feed-forward net, wide inside, which works on each token alone."""

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
    """Attention, then a feed-forward net, each added to what it was given, and normalised after that (post-norm)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.attn = OpenAIGPTAttention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = OpenAIGPTMLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``."""
        x = self.ln_1(x + self.attn(x, attend))
        return self.ln_2(x + self.mlp(x))


# --- The model --------------------------------------------------------------------------------------------------------


class OpenAIGPTPreTrainedModel(Model):
    """What all classes of GPT have in common."""

    config_class = OpenAIGPTConfig
    layout = LAYOUT

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, Conv1D)) and module.bias is not None:
            nn.init.zeros_(module.bias)

    @abstractmethod
    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens behind the vocabulary: those that stay keep their rows, new ones are drawn.

        Raises ConfigError when ``number`` is no count.
        """

    @classmethod
    def _load(
        cls,
        resolution: Source,
        config: Config,
        inputs: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: LoadOptions,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Load; then, with ``num_special_tokens=``, make room for so many."""
        model = super()._load(resolution, config, inputs, kwargs, options, state_dict=state_dict)
        if (number := kwargs.get("num_special_tokens")) is not None:
            model.set_num_special_tokens(number)
        return model

    @classmethod
    def _split(cls, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return super()._split({key: value for key, value in kwargs.items() if key != "num_special_tokens"})


class OpenAIGPTInputs(TypedDict, total=False):
    """The keywords of ``OpenAIGPTModel``, which every head takes as well."""

    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    past_key_values: Past | Iterable[KeyValues] | None
    output_hidden_states: bool
    output_attentions: bool


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """Embeddings and the blocks."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.total_tokens_embeddings, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(OpenAIGPTBlock(config) for _ in range(config.n_layer))
        self.init_weights()

    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens behind the vocabulary: those that stay keep their rows, new ones are drawn."""
        if number == self.config.n_special:
            return
        self.config = self.config.replace(n_special=number)
        before = self.tokens_embed.weight
        rows, width = self.config.total_tokens_embeddings, before.shape[1]
        self.tokens_embed = nn.Embedding(rows, width, device=before.device, dtype=before.dtype)
        self._init(self.tokens_embed)
        self.tokens_embed.requires_grad_(before.requires_grad)
        with torch.no_grad():
            self.tokens_embed.weight[: len(before)] = before[:rows]

    def embed(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The sum of what a token, its position and its type contribute; types are tokens, from the same table."""
        x = embed_ids(self.tokens_embed, input_ids, "input_ids")
        x = x + embed_ids(self.positions_embed, position_ids, "position_ids")
        if token_type_ids is not None:
            x = x + embed_ids(self.tokens_embed, token_type_ids, "token_type_ids")
        return self.drop(x)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Past | Iterable[KeyValues] | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> DecoderOutput:
        """Read ids of shape ``(..., tokens)``, behind those which ``past_key_values`` remember.

        ``attention_mask``
            Of the shape ``(..., tokens so far)``, 1 at tokens and 0 at padding, of any type; it may stand anywhere.
        ``token_type_ids``
            Of the shape of the ids: further tokens, whose embeddings are added.
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
            check_length(context.length, self.positions_embed)
            position_ids = context.positions(input_ids.device)
        check_shape(token_type_ids, input_ids, "token_type_ids")
        x = context.flat(self.embed(input_ids, position_ids, token_type_ids))
        states = []
        for block in self.h:
            if output_hidden_states:
                states.append(context.restore(x))
            x = block(x, context.attend)
        x = context.restore(x)
        return DecoderOutput(
            last_hidden_state=x,
            past_key_values=context.past_key_values,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=context.attentions,
        )


# --- One class for each task ------------------------------------------------------------------------------------------


class OpenAIGPTCausalModel(OpenAIGPTPreTrainedModel):
    """The model with scores for the next token: what its heads have in common, and what generation asks of them."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.lm_head = Linear(config.n_embd, config.total_tokens_embeddings, bias=False)
        self._tie()

    def _tie(self) -> None:
        """Score tokens with the matrix that embeds them."""
        self.lm_head.weight = self.transformer.tokens_embed.weight
        self.lm_head.out_features = len(self.lm_head.weight)

    def set_num_special_tokens(self, number: int) -> None:
        """Have ``number`` special tokens behind the vocabulary: those that stay keep their rows, new ones are drawn."""
        self.transformer.set_num_special_tokens(number)
        self.config = self.transformer.config
        self._tie()

    @property
    def context_size(self) -> int:
        """Positions that there are: the longest sequence, in tokens."""
        return len(self.transformer.positions_embed.weight)

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for ``batch`` sequences of up to ``capacity`` tokens."""
        weight, heads = self.transformer.tokens_embed.weight, self.config.n_head
        return KeyValueCache(
            layers=len(self.transformer.h),
            batch=batch,
            heads=heads,
            width=weight.shape[1] // heads,
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
        read = self.transformer(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache
        )
        scores: Tensor = self.lm_head(read.last_hidden_state[:, -1])
        return scores


class OpenAIGPTLMHeadModel(OpenAIGPTCausalModel):
    """The token that comes next."""

    @with_keywords_of(OpenAIGPTModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[OpenAIGPTInputs]
    ) -> CausalLMOutput:
        """Score every token of the vocabulary behind each token of ``(..., tokens)``.

        ``labels``, of the same shape, are the ids themselves, which are shifted here; negative ones are not predicted.
        """
        read = self.transformer(input_ids, **inputs)
        logits = self.lm_head(read.last_hidden_state)
        loss = None if labels is None else next_token_loss(logits, labels, inputs.get("attention_mask"))
        return CausalLMOutput(loss, logits, *read[1:])


class OpenAIGPTDoubleHeadsModel(OpenAIGPTCausalModel):
    """The token that comes next, and which of several texts is the right one."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.multiple_choice_head = ChoiceHead(config.n_embd, config.summary_first_dropout).apply(self._init)

    @with_keywords_of(OpenAIGPTModel.forward)
    def forward(
        self,
        input_ids: Tensor,
        *,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        **inputs: Unpack[OpenAIGPTInputs],
    ) -> DoubleHeadsOutput:
        """Score the next tokens, and the choices, of ids with the shape ``(batch, choices, tokens)``.

        ``mc_token_ids``, ``(batch, choices)``, number the tokens that sum up their texts, the last ones unless given;
        ``mc_labels``, ``(batch,)``, are the numbers of the right choices; ``labels`` are those of the language model.
        """
        read = self.transformer(input_ids, **inputs)
        logits = self.lm_head(read.last_hidden_state)
        mask = inputs.get("attention_mask")
        if mc_token_ids is None:
            mc_token_ids = last_tokens(input_ids, mask)
        mc_logits = self.multiple_choice_head(read.last_hidden_state, mc_token_ids)
        loss = None if labels is None else next_token_loss(logits, labels, mask)
        mc_loss = None if mc_labels is None else classification_loss(mc_logits, mc_labels)
        return DoubleHeadsOutput(loss, mc_loss, logits, mc_logits, *read[1:])
