"""Transformer-XL: a causal language model with a memory (Dai et al., 2019), and a class for each task.

Modules and parameters have the names of the published files.

A segment of tokens attends to itself and to the memory.  For each segment the model makes one context a layer: it has
the memory of that layer (``cache``), relative positions (``positions``) and the causal mask (``mask``).  A layer
appends its hidden states there, and the contexts then hold the next memory.
"""

from collections.abc import Iterable
from sys import maxsize
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from registry.errors import InputError, UnsupportedError
from registry.loading.model import Model
from registry.nn.heads import last_tokens
from registry.nn.inputs import check_shape, tokens_of
from registry.nn.losses import sequence_loss
from registry.nn.outputs import ClassificationOutput, MemoryLMOutput, MemoryOutput
from registry.records import LazyRef
from registry.weights.names import Layout

from .adaptive import AdaptiveEmbedding, AdaptiveLogSoftmax, predicted_words
from .block import TransfoXLBlock
from .cache import Memory, MemoryCache, projection_key
from .config import TransfoXLConfig
from .context import LayerContext, LayerContextWithWeights, Lengths, SegmentContext
from .mask import padding_of, without
from .positions import sinusoids
from .weights import BIASES, LAYOUT, layout_of

# --- The model --------------------------------------------------------------------------------------------------------


class TransfoXLPreTrainedModel(Model):
    """Base class of all models of Transformer-XL."""

    config_class = TransfoXLConfig
    layout = LAYOUT
    block_classes = (TransfoXLBlock,)
    former_order: ClassVar[tuple[str, ...]] = ("target", "mems")
    parallel_plan = LazyRef("plugins.transfo_xl.parallel:PLAN")

    @classmethod
    def layout_of(cls, config: Any) -> Layout:
        """The names and ties of the weights of a model with this configuration."""
        return layout_of(config)

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns."""
        std = self.config.init_std
        if isinstance(module, nn.ParameterList):  # projections of the adaptive layers
            for projection in module:
                nn.init.normal_(projection, std=self.config.proj_init_std)
        elif isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1.0, std=std)
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            self._sample(module.weight)
        for name, parameter in module.named_parameters(recurse=False):
            if name in (*BIASES, "cluster_weight"):
                self._sample(parameter)
            elif name in ("bias", "cluster_bias"):
                nn.init.zeros_(parameter)

    def resize_token_embeddings(self, *_args: Any, **_kwargs: Any) -> nn.Module:
        """Refused: words are sorted by frequency into clusters, each with a table and a softmax of its own.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"{type(self).__name__} has an adaptive embedding and softmax, whose vocabulary cannot be resized.",
            hint="Words are clustered by frequency; a new vocabulary needs a model trained from scratch.",
        )

    def _vocabulary(self) -> list[str]:
        """The adaptive embedding; words are scored by no single layer."""
        return ["transformer.word_emb" if hasattr(self, "transformer") else "word_emb"]

    def _sample(self, weight: Tensor) -> None:
        if self.config.init == "uniform":
            nn.init.uniform_(weight, -self.config.init_range, self.config.init_range)
        else:
            nn.init.normal_(weight, std=self.config.init_std)


class TransfoXLModel(TransfoXLPreTrainedModel):
    """The backbone: adaptive embeddings, and layers that attend to a memory.

    ``mem_len``, ``ext_len``, ``tgt_len``, ``clamp_len`` and ``same_length`` come from the configuration, and may be
    changed afterwards, for a longer memory in evaluation for example.
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
        """Change the lengths.

        Args:
            tgt_len: Tokens of a segment.
            ext_len: Tokens at its end that the next segment reads again.
            mem_len: Tokens that are remembered.
        """
        self.tgt_len, self.ext_len, self.mem_len = tgt_len, ext_len, mem_len

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mems: Iterable[Tensor] | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> MemoryOutput:
        """Read a segment.

        Args:
            input_ids: ``(batch, tokens)``.
            attention_mask: The same shape, 1 at tokens and 0 at padding, of any type.  Padding stands for memory that
                is still empty; so a sequence behind padding has the numbers that it has alone.
            inputs_embeds: Embeddings in place of the ids, ``(batch, tokens, width)``, as ``get_input_embeddings()``
                gives.
            mems: ``mems`` of an earlier output; or for each layer hidden states ``(batch, remembered tokens, width)``,
                whose keys and values are projected again.  Without it, ``mem_len`` zeros, to which the published model
                attends.  No gradients flow into it.
            use_cache: Whether to return the memory.
            output_hidden_states: Whether to return the hidden states of all layers.
            output_attentions: Whether to return attention weights, computed by the slower eager attention.  Their last
                axis has the part of the memory that is attended to, then the tokens.

        Returns:
            ``last_hidden_state`` is ``(batch, tokens, width)``, zero at padding.

        Raises:
            InputError: A shape does not fit, or an id is unknown.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        if tokens.dim() != 2 or not tokens.numel():
            raise InputError(f"input_ids must have the shape (batch, tokens), not {tuple(tokens.shape)}.")
        check_shape(attention_mask, tokens, "attention_mask")
        x = self.drop(self.word_emb(input_ids) if inputs_embeds is None else inputs_embeds)
        padding = padding_of(attention_mask)
        segment = self._segment(x, mems, padding, LayerContextWithWeights if output_attentions else LayerContext)
        x, states = without(padding, x), []
        for layer, context in zip(self.layers, segment.layers, strict=True):
            states.append(x)
            x = without(padding, layer(x, context))
        x = self.drop(x)
        return MemoryOutput(
            last_hidden_state=x,
            mems=segment.memory.as_output() if use_cache else None,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=segment.attentions if output_attentions else None,
        )

    def _segment(
        self, x: Tensor, mems: Iterable[Tensor] | None, padding: Tensor | None, kind: type[LayerContext]
    ) -> SegmentContext:
        """What the layers attend to."""
        return SegmentContext.of(
            x,
            Memory.before(x, mems, layers=len(self.layers), length=self.mem_len),
            Lengths(self.mem_len, self.ext_len, self.clamp_len, self.same_length),
            lambda distances: self.drop(sinusoids(distances, x.shape[-1], x.dtype)),
            padding=padding,
            key=() if self.training else projection_key(self._projections(), self.clamp_len, x.device.type),
            kind=kind,
        )

    def _projections(self) -> list[nn.Module]:
        """The layers that make keys, values and projected distances."""
        return [net for layer in self.layers for net in layer.dec_attn.projections]


# --- One class for each task ------------------------------------------------------------------------------------------


def _of_transformer(name: str) -> Any:
    """An attribute of the backbone as an attribute of the head."""

    def get(head: Any) -> Any:
        return getattr(head.transformer, name)

    def set_(head: Any, value: Any) -> None:
        setattr(head.transformer, name, value)

    return property(get, set_, doc=f"``{name}`` of the backbone.")


class TransfoXLHead(TransfoXLPreTrainedModel):
    """A backbone with a head: the part that all heads have in common."""

    tgt_len, ext_len, mem_len, clamp_len, same_length = map(
        _of_transformer, ("tgt_len", "ext_len", "mem_len", "clamp_len", "same_length")
    )

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__(config)
        self.transformer = TransfoXLModel(config)

    def reset_length(self, tgt_len: int, ext_len: int, mem_len: int) -> None:
        """Change the lengths of the backbone, as its ``reset_length`` says."""
        self.transformer.reset_length(tgt_len, ext_len, mem_len)


class TransfoXLLMHeadModel(TransfoXLHead):
    """Language model: an adaptive softmax over the next word."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__(config)
        self.crit = AdaptiveLogSoftmax(config).apply(self.init_module)
        self.tie_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mems: Iterable[Tensor] | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        target: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> MemoryLMOutput:
        """Log-probabilities of all words after each token; or losses of those that follow.

        Args:
            input_ids: ``(batch, tokens)``.
            attention_mask: As in ``TransfoXLModel``.
            inputs_embeds: As in ``TransfoXLModel``.
            mems: As in ``TransfoXLModel``.
            use_cache: As in ``TransfoXLModel``.
            labels: The ids themselves, which are shifted here; negative ones are not predicted.
            target: The words that follow each token, not shifted, so that the last one of a segment is predicted too;
                negative ones are not predicted.  ``labels`` and ``target`` exclude each other.
            output_hidden_states: As in ``TransfoXLModel``.
            output_attentions: As in ``TransfoXLModel``.

        Returns:
            ``logits``, ``(batch, tokens, vocab_size)``; with labels or a target, ``loss`` and ``losses``, ``(batch,
            tokens)``, instead.

        Raises:
            InputError: A shape does not fit, or an id is unknown.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        target = predicted_words(tokens, labels, target, attention_mask, self.config.vocab_size)
        read = self.transformer(
            input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            mems=mems,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        if target is None:
            return MemoryLMOutput(
                None, None, self.crit(read.last_hidden_state), read.mems, read.hidden_states, read.attentions
            )
        losses = self.crit(read.last_hidden_state, target=target)
        loss = losses.sum() / (target >= 0).sum().clamp(min=1)
        return MemoryLMOutput(loss, losses, None, read.mems, read.hidden_states, read.attentions)

    # --- Generation

    @property
    def context_size(self) -> int:
        """Any number of tokens: the oldest drop out of the memory; of a model without memory, all are attended to."""
        return maxsize

    def new_cache(self, batch: int, capacity: int) -> MemoryCache:  # noqa: ARG002  # it grows
        """An empty cache; that of a model without memory holds the whole text, as if it were read at once.

        Raises InputError for a model with ``ext_len``, which does not remember its last tokens.
        """
        self._check_memory()
        return MemoryCache(grows=not self.mem_len)

    def score(
        self,
        input_ids: Tensor,
        cache: MemoryCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,  # noqa: ARG002  # positions are relative
        top: int | None = None,
    ) -> Tensor:
        """Log-probabilities of the word after the last token.

        Args:
            input_ids: New tokens, ``(batch, new)``.  Many are read in segments, where that makes no difference.
            cache: The memory before them, which is replaced.
            attention_mask: ``(batch, tokens so far)``, zero at padding.
            position_ids: Ignored.
            top: How many of the highest must be right; None for all.  Clusters without any of those are not scored, and
                their words get equal shares of the probability of the cluster.

        Returns:
            ``(batch, vocab_size)``.
        """
        new = input_ids.shape[1]
        length = self.tgt_len if self.same_length and self.mem_len else new
        masks = [None] * new if attention_mask is None else torch.split(attention_mask[:, -new:], length, dim=1)
        for ids, mask in zip(torch.split(input_ids, length, dim=1), masks, strict=False):
            read = self.transformer(ids, attention_mask=mask, mems=cache.memory, use_cache=True, return_dict=True)
            cache.memory = read.mems
        return self.crit(read.last_hidden_state[:, -1], top)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **arguments: Any) -> dict[str, Any]:
        """The arguments of a step, for libraries that wrap it (PEFT); ``generate`` here has no use for it."""
        return {"input_ids": input_ids, **arguments}

    def read_on(self, input_ids: Tensor, target: Tensor, mems: Iterable[Tensor] | None) -> tuple[Tensor, Memory]:
        """The losses of ``target``, ``(batch, tokens)``, after ids of that shape; and the memory for what follows."""
        self._check_memory()
        output = self(input_ids, target=target, mems=mems, use_cache=True, return_dict=True)
        return output.losses, output.mems

    def _check_memory(self) -> None:
        if self.ext_len:
            raise InputError(
                f"This model computes its last {self.ext_len} tokens again, and so cannot generate from its cache.",
                hint="model.reset_length(tgt_len, 0, mem_len) makes it cache them instead.",
            )


class TransfoXLForSequenceClassification(TransfoXLHead):
    """Sequence classification by the last token; with one label, regression."""

    def __init__(self, config: TransfoXLConfig, num_labels: int | None = None) -> None:
        super().__init__(config if num_labels is None else config.replace(num_labels=num_labels))
        self.score = nn.Linear(config.d_model, self.config.num_labels, bias=False).apply(self.init_module)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mems: Iterable[Tensor] | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the classes.

        Args:
            input_ids: ``(batch, tokens)``.
            attention_mask: As in ``TransfoXLModel``; the last token that is not padding counts.
            inputs_embeds: As in ``TransfoXLModel``.
            mems: As in ``TransfoXLModel``.
            labels: Class numbers, ``(batch,)``, negative ones ignored; with one label, the numbers to predict.
                ``problem_type`` of the configuration may ask for several numbers, or for several labels of each text,
                0 or 1 for each class, ``(batch, classes)``.
            output_hidden_states: As in ``TransfoXLModel``.
            output_attentions: As in ``TransfoXLModel``.

        Returns:
            ``logits``, ``(batch, num_labels)``, and with labels ``loss``.

        Raises:
            InputError: A shape does not fit, or an id is unknown.
        """
        read = self.transformer(
            input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            mems=mems,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        tokens = tokens_of(input_ids, inputs_embeds)
        last = last_tokens(tokens, attention_mask, None if input_ids is None else self.config.pad_token_id)
        rows = torch.arange(last.shape[0], device=last.device)
        logits = self.score(read.last_hidden_state[rows, last])
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        return ClassificationOutput(loss, logits, read.hidden_states, read.attentions)
