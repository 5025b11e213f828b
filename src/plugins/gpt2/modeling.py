"""GPT-2: a causal language model (Radford et al., 2019, section 2.3), and a class for each task.

Modules and parameters bear the names of the published files.

Axes:  B batch,  T tokens,  H heads,  D width of a head.
"""

from collections.abc import Iterable
from typing import TypedDict, Unpack

from torch import Tensor, nn

from registry.loading.model import Model
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

from .config import GPT2Config
from .weights import LAYOUT

# --- A block, upwards from its parts ----------------------------------------------------------------------------------


class GPT2Projection(Conv1D):
    """The last product of a sub-layer, whose result is added to the stream: new ones are drawn smaller."""


class GPT2Attention(nn.Module):
    """Every token attends to itself and to those before it, with several heads."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.num_heads = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = GPT2Projection(config.n_embd, config.n_embd)
        self.attn_dropout = config.attn_pdrop
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``; ``attend`` knows what stands before them."""
        query, key, value = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)  # each BTHD
        mixed = attend(query, key, value, dropout=self.attn_dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(mixed.flatten(-2)))


class GPT2MLP(nn.Module):
    """A feed-forward net, wide inside, which works on each token alone."""

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
    """Attention, then a feed-forward net, each normalised before and added after (pre-norm)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPT2Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(self, x: Tensor, attend: Attend = causal_attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``."""
        x = x + self.attn(self.ln_1(x), attend)
        return x + self.mlp(self.ln_2(x))


# --- The model --------------------------------------------------------------------------------------------------------


class GPT2PreTrainedModel(Model):
    """What all classes of GPT-2 have in common."""

    config_class = GPT2Config
    layout = LAYOUT

    def _init(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, GPT2Projection):  # section 2.3: the stream must not grow with the number of what is added
            std /= (2 * self.config.n_layer) ** 0.5
        if isinstance(module, (nn.Linear, nn.Embedding, Conv1D)):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, Conv1D)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class GPT2Inputs(TypedDict, total=False):
    """The keywords of ``GPT2Model``, which every head takes as well."""

    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    past_key_values: Past | Iterable[KeyValues] | None
    output_hidden_states: bool
    output_attentions: bool


class GPT2Model(GPT2PreTrainedModel):
    """Embeddings, the blocks, and a last normalisation."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.total_tokens_embeddings, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.init_weights()

    def embed(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The sum of what a token, its position and its type contribute; types are tokens, from the same table."""
        x = embed_ids(self.wte, input_ids, "input_ids") + embed_ids(self.wpe, position_ids, "position_ids")
        if token_type_ids is not None:
            x = x + embed_ids(self.wte, token_type_ids, "token_type_ids")
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
            check_length(context.length, self.wpe)
            position_ids = context.positions(input_ids.device)
        check_shape(token_type_ids, input_ids, "token_type_ids")
        x = context.flat(self.embed(input_ids, position_ids, token_type_ids))
        states = []
        for block in self.h:
            if output_hidden_states:
                states.append(context.restore(x))
            x = block(x, context.attend)
        x = context.restore(self.ln_f(x))
        return DecoderOutput(
            last_hidden_state=x,
            past_key_values=context.past_key_values,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=context.attentions,
        )


# --- One class for each task ------------------------------------------------------------------------------------------


class GPT2CausalModel(GPT2PreTrainedModel):
    """The model with scores for the next token: what its heads have in common, and what generation asks of them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = Linear(config.n_embd, config.total_tokens_embeddings, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    @property
    def context_size(self) -> int:
        """Positions that there are: the longest sequence, in tokens."""
        return len(self.transformer.wpe.weight)

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        """An empty cache for ``batch`` sequences of up to ``capacity`` tokens."""
        weight, heads = self.transformer.wte.weight, self.config.n_head
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


class GPT2LMHeadModel(GPT2CausalModel):
    """The token that comes next."""

    @with_keywords_of(GPT2Model.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[GPT2Inputs]
    ) -> CausalLMOutput:
        """Score every token of the vocabulary behind each token of ``(..., tokens)``.

        ``labels``, of the same shape, are the ids themselves, which are shifted here; negative ones are not predicted.
        """
        read = self.transformer(input_ids, **inputs)
        logits = self.lm_head(read.last_hidden_state)
        loss = None if labels is None else next_token_loss(logits, labels, inputs.get("attention_mask"))
        return CausalLMOutput(loss, logits, *read[1:])


class GPT2DoubleHeadsModel(GPT2CausalModel):
    """The token that comes next, and which of several texts is the right one."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.multiple_choice_head = ChoiceHead(config.n_embd, config.summary_first_dropout).apply(self._init)

    @with_keywords_of(GPT2Model.forward)
    def forward(
        self,
        input_ids: Tensor,
        *,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        **inputs: Unpack[GPT2Inputs],
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
