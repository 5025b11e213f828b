"""Transformer-XL: a causal language model with a memory (Dai et al., 2019), and a class for each task.

Modules and parameters bear the names of the published files.

Axes:  B batch,  T new tokens,  M remembered ones,  S both,  H heads,  D width of a head.
"""

from collections.abc import Iterable
from sys import maxsize
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.heads import last_tokens
from registry.nn.inputs import can_branch_on, check_shape, with_keywords_of
from registry.nn.losses import IGNORED, classification_loss, next_tokens, regression_loss
from registry.nn.onednn import linear
from registry.nn.outputs import ClassificationOutput, MemoryLMOutput, MemoryOutput
from registry.weights.names import Layout

from .adaptive import AdaptiveEmbedding, AdaptiveLogSoftmax
from .config import TransfoXLConfig
from .memory import Memory, MemoryCache, Stamp
from .segment import Lengths, Segment, WatchedSegment
from .weights import BIASES, LAYOUT, layout_of

LONGEST_WAVE = 10_000
"""Wave lengths of positions rise from 2 pi to this many times 2 pi (Vaswani et al., 2017, section 3.5)."""

# --- A layer, upwards from its parts ----------------------------------------------------------------------------------


def distance_features(distances: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Sines, then cosines, of ``distances``, ``(distances, width)``: not in turn, as in the paper of 2017."""
    exact = torch.promote_types(dtype, torch.float32)
    evens = torch.arange(0, width, 2, device=distances.device, dtype=exact)
    frequencies = 1 / LONGEST_WAVE ** (evens / width)  # a quotient instead would round otherwise than the ancestor
    angles = distances[:, None].to(exact) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width].to(dtype)


class TransfoXLAttention(nn.Module):
    """Every token attends, by content and by distance, to itself, those before it and the memory (section 3.3)."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        width = config.n_head * config.d_head
        self.qkv_net = nn.Linear(config.d_model, 3 * width, bias=False)
        self.r_net = nn.Linear(config.d_model, width, bias=False)
        self.o_net = nn.Linear(width, config.d_model, bias=False)
        self.r_w_bias = nn.Parameter(torch.empty(config.n_head, config.d_head))
        self.r_r_bias = nn.Parameter(torch.empty(config.n_head, config.d_head))
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.drop = nn.Dropout(config.dropout)
        self.dropatt = config.dropatt
        self.pre_lnorm = config.pre_lnorm

    def forward(self, x: Tensor, segment: Segment | None = None) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``, with what ``segment`` remembers; without it, nothing."""
        segment = alone(x) if segment is None else segment
        projected = self._by_head(self.qkv_net(self._read(x)))
        pairs = segment.enter(x, projected[1:], self._keys_and_values)
        distances = segment.distances(self.r_net, len(self.r_r_bias))
        near = torch.einsum("bhtd,hds->bhts", projected[0] + self.r_r_bias[:, None], distances)
        dropout = self.dropatt if self.training else 0.0
        mixed = segment.attend(projected[0] + self.r_w_bias[:, None], pairs, near, dropout=dropout)
        added = x + self.drop(self.o_net(mixed.transpose(-3, -2).flatten(-2)))
        return added if self.pre_lnorm else self.layer_norm(added)

    def _read(self, x: Tensor) -> Tensor:
        return self.layer_norm(x) if self.pre_lnorm else x

    def _by_head(self, projected: Tensor) -> Tensor:
        """Queries, keys and values, ``(3, B, H, T, D)``, of a projection; without queries, ``(2, B, H, T, D)``."""
        parts = projected.shape[-1] // self.r_w_bias.numel()
        return projected.view(*projected.shape[:-1], parts, *self.r_w_bias.shape).permute(2, 0, 3, 1, 4)

    def _keys_and_values(self, states: Tensor) -> Tensor:
        """Keys and values, ``(2, B, H, M, D)``, of remembered states, ``(B, M, width)``."""
        projected = linear(self._read(states), self.qkv_net.weight[self.r_w_bias.numel() :])  # queries come first
        return self._by_head(projected)


def alone(x: Tensor) -> Segment:
    """A segment without memory, for features ``(batch, tokens, width)``."""
    return Segment(
        x.shape[1],
        Memory.nothing(1, 0, x),
        Lengths(mem_len=0, ext_len=0, clamp_len=0, same_length=False),
        lambda distances: distance_features(distances, x.shape[-1], x.dtype),
    )


class TransfoXLFeedForward(nn.Module):
    """A feed-forward net, wide inside, which works on each token alone."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.CoreNet = nn.Sequential(
            nn.Linear(config.d_model, config.d_inner),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_inner, config.d_model),
            nn.Dropout(config.dropout),
        )
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.pre_lnorm = config.pre_lnorm

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        if self.pre_lnorm:
            return x + self.CoreNet(self.layer_norm(x))
        return self.layer_norm(x + self.CoreNet(x))


class TransfoXLBlock(nn.Module):
    """Attention, then a feed-forward net, each added and then normalised, or the other way around."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.dec_attn = TransfoXLAttention(config)
        self.pos_ff = TransfoXLFeedForward(config)

    def forward(self, x: Tensor, segment: Segment | None = None) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``."""
        return self.pos_ff(self.dec_attn(x, segment))


# --- The model --------------------------------------------------------------------------------------------------------


class TransfoXLPreTrainedModel(Model):
    """What all classes of Transformer-XL have in common."""

    config_class = TransfoXLConfig
    layout = LAYOUT

    @classmethod
    def layout_of(cls, config: Any) -> Layout:
        """How the weights of a model with this configuration are named, and which are tied."""
        return layout_of(config)

    def _init(self, module: nn.Module) -> None:
        std = self.config.init_std
        if isinstance(module, nn.ParameterList):  # projections of the adaptive layers
            for projection in module:
                nn.init.normal_(projection, std=self.config.proj_init_std)
        elif isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1.0, std=std)
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            self._draw(module.weight)
        for name, parameter in module.named_parameters(recurse=False):
            if name in (*BIASES, "cluster_weight"):
                self._draw(parameter)
            elif name in ("bias", "cluster_bias"):
                nn.init.zeros_(parameter)

    def _draw(self, weight: Tensor) -> None:
        if self.config.init == "uniform":
            nn.init.uniform_(weight, -self.config.init_range, self.config.init_range)
        else:
            nn.init.normal_(weight, std=self.config.init_std)


class TransfoXLInputs(TypedDict, total=False):
    """The keywords of ``TransfoXLModel``, which every head takes as well."""

    attention_mask: Tensor | None
    mems: Iterable[Tensor] | None
    output_hidden_states: bool
    output_attentions: bool


class TransfoXLModel(TransfoXLPreTrainedModel):
    """Adaptive embeddings, and layers that attend to a memory as well.

    ``mem_len``, ``ext_len``, ``tgt_len``, ``clamp_len`` and ``same_length`` are taken from the configuration, and may
    be changed afterwards, for a longer memory in evaluation for example.
    """

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__(config)
        self.word_emb = AdaptiveEmbedding(config)
        self.drop = nn.Dropout(config.dropout)
        self.layers: Any = nn.ModuleList(TransfoXLBlock(config) for _ in range(config.n_layer))
        if not config.untie_r:
            for bias in BIASES:
                setattr(self, bias, nn.Parameter(torch.empty(config.n_head, config.d_head)))
                for layer in self.layers:
                    setattr(layer.dec_attn, bias, getattr(self, bias))
        self.tgt_len, self.ext_len, self.mem_len = config.tgt_len, config.ext_len, config.mem_len
        self.clamp_len, self.same_length = config.clamp_len, config.same_length
        self.init_weights()

    def reset_length(self, tgt_len: int, ext_len: int, mem_len: int) -> None:
        """Change how many tokens a segment has, how many of them the next one reads again, and how many are kept."""
        self.tgt_len, self.ext_len, self.mem_len = tgt_len, ext_len, mem_len

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        mems: Iterable[Tensor] | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> MemoryOutput:
        """Read ids of shape ``(batch, tokens)``, behind those which ``mems`` remember.

        ``attention_mask``
            Of the shape of the ids, 1 at tokens and 0 at padding, of any type.  Padding stands for memory that is still
            empty; so a text behind padding has the numbers that it has alone.
        ``mems``
            What an earlier call returned under this name; or for each layer hidden states ``(batch, remembered tokens,
            width)``, which hold no keys and values and are therefore projected anew.  Without it, ``mem_len`` zeros,
            to which the published model attends.
        ``output_hidden_states``, ``output_attentions``
            Whether to return these too; the latter computes attention the slow way.  The last axis of attentions has
            what can be seen of the memory, then the tokens.

        No gradients flow into the memory.  Raises InputError when a shape does not fit, or an id is unknown.
        """
        if input_ids.dim() != 2 or not input_ids.numel():
            raise InputError(f"input_ids must have the shape (batch, tokens), not {tuple(input_ids.shape)}.")
        check_shape(attention_mask, input_ids, "attention_mask")
        x = self.drop(self.word_emb(input_ids))
        segment = (WatchedSegment if output_attentions else Segment)(
            x.shape[1],
            self._memory(mems, x),
            Lengths(self.mem_len, self.ext_len, self.clamp_len, self.same_length),
            lambda distances: self.drop(distance_features(distances, x.shape[-1], x.dtype)),
            padding=_padding(attention_mask),
            stamp=() if self.training or torch.is_grad_enabled() else self._stamp(),
        )
        x = segment.restore(x)
        states = []
        for layer in self.layers:
            if output_hidden_states:
                states.append(x)
            x = segment.restore(layer(x, segment))
        x = self.drop(x)
        return MemoryOutput(
            last_hidden_state=x,
            mems=segment.mems,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=segment.attentions,
        )

    def _memory(self, mems: Iterable[Tensor] | None, x: Tensor) -> Memory:
        if mems is None:
            return Memory.nothing(len(self.layers), self.mem_len, x)
        memory = mems if isinstance(mems, Memory) else Memory.of(state.detach() for state in mems)
        wanted = (len(x), memory.length if len(memory) else 0, x.shape[-1])
        if len(memory) != len(self.layers) or any(state.shape != wanted for state in memory):
            raise InputError(
                f"mems must have {len(self.layers)} tensors of the shape {wanted[:1]} + (remembered tokens,) + "
                f"{wanted[2:]}, not {[tuple(state.shape) for state in memory][:3]}.",
                hint="The ancestor's had the axis of the batch second: mem.transpose(0, 1) turns one of them.",
            )
        return memory

    def _stamp(self) -> Stamp:
        """What changes when weights of projections do."""
        weights = (net.weight for layer in self.layers for net in (layer.dec_attn.qkv_net, layer.dec_attn.r_net))
        return tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights)


def _padding(mask: Tensor | None) -> Tensor | None:
    """Where there is no token; None where it is known that there is one everywhere."""
    if mask is None:
        return None
    padding = mask == 0
    return padding if not can_branch_on(padding) or padding.any() else None


# --- One class for each task ------------------------------------------------------------------------------------------


def _of_transformer(name: str) -> Any:
    """An attribute that a head shares with the model inside it."""

    def get(head: Any) -> Any:
        return getattr(head.transformer, name)

    def set_(head: Any, value: Any) -> None:
        setattr(head.transformer, name, value)

    return property(get, set_, doc=f"``{name}`` of the model inside.")


class TransfoXLHead(TransfoXLPreTrainedModel):
    """The model with something on top of it: what its heads have in common."""

    tgt_len, ext_len, mem_len, clamp_len, same_length = map(
        _of_transformer, ("tgt_len", "ext_len", "mem_len", "clamp_len", "same_length")
    )

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__(config)
        self.transformer = TransfoXLModel(config)

    def reset_length(self, tgt_len: int, ext_len: int, mem_len: int) -> None:
        """Change how many tokens a segment has, how many of them the next one reads again, and how many are kept."""
        self.transformer.reset_length(tgt_len, ext_len, mem_len)


class TransfoXLLMHeadModel(TransfoXLHead):
    """The word that comes next."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__(config)
        self.crit = AdaptiveLogSoftmax(config).apply(self._init)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Let the softmax share tables and projections with the embedding, as the configuration says."""
        embedding = self.transformer.word_emb
        if self.config.tie_weight:
            for layer, table in zip(self.crit.out_layers, embedding.emb_layers, strict=True):
                layer.weight = table.weight
        if self.config.projects:
            for number, tied in enumerate(self.config.tie_projs):
                if tied:
                    self.crit.out_projs[number] = embedding.emb_projs[number if len(embedding.emb_projs) > 1 else 0]

    @with_keywords_of(TransfoXLModel.forward)
    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        target: Tensor | None = None,
        **inputs: Unpack[TransfoXLInputs],
    ) -> MemoryLMOutput:
        """Score every word behind each token of ``(batch, tokens)``; or only those which do follow.

        ``labels``, of the shape of the ids, are the ids themselves, which are shifted here; ``target`` are the words
        that follow each token, not shifted, so that the last one of a segment is predicted too.  Negative ones are not
        predicted.  With either, there are losses and no logits.
        """
        target = self._target(input_ids, labels, target, inputs.get("attention_mask"))
        read = self.transformer(input_ids, **inputs)
        if target is None:
            return MemoryLMOutput(None, None, self.crit(read.last_hidden_state), *read[1:])
        losses = self.crit.losses(read.last_hidden_state, target)
        loss = losses.sum() / (target >= 0).sum().clamp(min=1)
        return MemoryLMOutput(loss, losses, None, *read[1:])

    def _target(
        self, input_ids: Tensor, labels: Tensor | None, target: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """The words that are predicted, ``(batch, tokens)``, negative where none is."""
        check_shape(labels, input_ids, "labels")
        check_shape(target, input_ids, "target")
        if labels is None:
            return target if target is None or mask is None else target.masked_fill(mask == 0, IGNORED)
        if target is not None:
            raise InputError("labels and target say the same, shifted and not: give one of them.")
        return next_tokens(labels, mask)

    # --- What generation asks for

    @property
    def context_size(self) -> int:
        """Any number of tokens can be read: the oldest are forgotten."""
        return maxsize

    def new_cache(self, batch: int, capacity: int) -> MemoryCache:  # noqa: ARG002  # it has room for any text
        """A memory of nothing.  Raises InputError for a model that does not remember its last tokens."""
        self._check_memory()
        return MemoryCache()

    def score(
        self,
        input_ids: Tensor,
        cache: MemoryCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,  # noqa: ARG002  # distances are all that counts
        top: int | None = None,
    ) -> Tensor:
        """Read ids, ``(batch, new tokens)``, into ``cache``; log-probabilities of what follows the last.

        ``attention_mask``, ``(batch, tokens so far)``, is zero at padding.  Where only the ``top`` highest matter,
        unlikely clusters of words are not looked into.

        A long text is read in segments, where that makes no difference.
        """
        new = input_ids.shape[1]
        length = self.tgt_len if self.same_length and self.mem_len else new
        masks = [None] * new if attention_mask is None else torch.split(attention_mask[:, -new:], length, dim=1)
        for ids, mask in zip(torch.split(input_ids, length, dim=1), masks, strict=False):
            read = self.transformer(ids, attention_mask=mask, mems=cache.memory)
            cache.memory = read.mems
        return self.crit(read.last_hidden_state[:, -1], top)

    def read_on(self, input_ids: Tensor, target: Tensor, mems: Iterable[Tensor] | None) -> tuple[Tensor, Memory]:
        """Losses of ``target``, ``(batch, tokens)``, behind ids of that shape; and the memory for what follows."""
        self._check_memory()
        output = self(input_ids, target=target, mems=mems)
        return output.losses, output.mems

    def _check_memory(self) -> None:
        if self.ext_len:
            raise InputError(
                f"This model reads its last {self.ext_len} tokens again, and so cannot go on behind them.",
                hint="model.reset_length(tgt_len, 0, mem_len) has it remember them.",
            )


class TransfoXLForSequenceClassification(TransfoXLHead):
    """The class of a text, judged by its last token; with one label, a number instead (regression)."""

    def __init__(self, config: TransfoXLConfig, num_labels: int | None = None) -> None:
        super().__init__(config if num_labels is None else config.replace(num_labels=num_labels))
        self.score = nn.Linear(config.d_model, self.config.num_labels, bias=False).apply(self._init)

    @with_keywords_of(TransfoXLModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[TransfoXLInputs]
    ) -> ClassificationOutput:
        """Score classes, ``(batch, classes)``, for texts of shape ``(batch, tokens)``.

        The last token of each counts which ``attention_mask`` does not call padding.  ``labels``, ``(batch,)``, are
        class numbers, the negative ones ignored; with one label, the numbers to predict.
        """
        read = self.transformer(input_ids, **inputs)
        last = last_tokens(input_ids, inputs.get("attention_mask"))
        rows = torch.arange(len(last), device=last.device)
        logits = self.score(read.last_hidden_state[rows, last])
        loss_of = regression_loss if logits.shape[-1] == 1 else classification_loss
        loss = None if labels is None else loss_of(logits, labels)
        return ClassificationOutput(loss, logits, *read[2:])
