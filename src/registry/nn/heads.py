"""Heads of causal models, and what generation needs of a model that has one."""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.cache import KeyValueCache, KeyValues, StaticKeyValueCache
from registry.nn.inputs import tokens_of
from registry.nn.losses import classification_loss, next_token_loss, sequence_loss
from registry.nn.outputs import CausalLMOutput, ClassificationOutput, DecoderOutput, DoubleHeadsOutput


def last_tokens(tokens: Tensor, mask: Tensor | None = None, padding: int | None = None) -> Tensor:
    """The number of the last token of each text.

    Args:
        tokens: Ids, ``(..., tokens)``; without ``padding``, anything of that shape.
        mask: ``(..., tokens)``, zero at padding; a longer one ends with these tokens.
        padding: The id of padding.

    Returns:
        ``(...)``; the first, where a text is all padding.
    """
    number = tokens.shape[-1]
    if mask is None and padding is None:
        return tokens.new_full(tokens.shape[:-1], number - 1, dtype=torch.long)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask[..., -number:] != 0
    if padding is not None:
        real = real & (tokens != padding)
    return (real * torch.arange(number, device=real.device)).argmax(dim=-1)


class ChoiceHead(nn.Module):
    """One score for each text, from the features of the token that sums it up (Radford et al., 2018, section 3.3).

    Args:
        width: Features of a token.
        dropout: Probability with which one is dropped.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.summary = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, token_ids: Tensor) -> Tensor:
        """Score texts.

        Args:
            x: ``(..., tokens, width)``.
            token_ids: The number of one token of each text, ``(...)``.

        Returns:
            ``(...)``.

        Raises:
            InputError: There are not as many numbers as texts or, on a CPU, no token has such a number.
        """
        if token_ids.shape != x.shape[:-2]:
            raise InputError(
                f"mc_token_ids must have one number for each text, shape {tuple(x.shape[:-2])}, "
                f"not {tuple(token_ids.shape)}."
            )
        try:
            chosen = x.gather(-2, token_ids.long()[..., None, None].expand_as(x[..., :1, :])).squeeze(-2)
        except (IndexError, RuntimeError) as problem:
            raise InputError(
                f"mc_token_ids must lie between 0 and {x.shape[-2] - 1}, but go from {token_ids.min()} to "
                f"{token_ids.max()}."
            ) from problem
        return self.summary(self.dropout(chosen)).squeeze(-1)


class CausalBackbone(Protocol):
    """What a causal model without a head offers to the classes below, in addition to ``forward``."""

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence."""
        ...

    @property
    def num_layers(self) -> int:
        """Layers with keys and values."""
        ...


class CausalLM(nn.Module):
    """A causal backbone with a language model head, as generation uses them.

    An architecture derives its class from this one and from its own ``Model``, names the attribute of its backbone, and
    makes the backbone and ``lm_head`` in the constructor.
    """

    backbone_name: ClassVar[str] = "transformer"
    """The attribute that holds the backbone; published names of parameters begin with it."""
    lm_head: nn.Linear

    @property
    def backbone(self) -> Any:
        """The model without its head, a ``CausalBackbone``."""
        return getattr(self, self.backbone_name)

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence."""
        return int(self.backbone.context_size)

    def new_cache(self, batch: int, capacity: int) -> StaticKeyValueCache:
        """An empty cache for ``batch`` sequences of up to ``capacity`` tokens."""
        return StaticKeyValueCache(layers=self.backbone.num_layers, batch=batch, capacity=capacity)

    def score(
        self,
        input_ids: Tensor,
        cache: KeyValueCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        top: int | None = None,  # noqa: ARG002  # one product makes all scores
    ) -> Tensor:
        """Logits of the token after the last one; see ``registry.generation.CausalModel``.

        Args:
            input_ids: New tokens, ``(batch, tokens)``, which are appended to ``cache``.
            cache: What ``new_cache`` made.
            attention_mask: ``(batch, tokens so far)``, the new ones included, zero at padding.
            position_ids: The shape of the ids.
            top: How many of the highest logits matter; all are computed here.

        Returns:
            ``(batch, vocabulary)``.
        """
        read = self.backbone(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            return_dict=True,
        )
        return self.lm_head(read.last_hidden_state[:, -1])

    def prepare_inputs_for_generation(self, input_ids: Tensor, **arguments: Any) -> dict[str, Any]:
        """The arguments of a step, for libraries that wrap it (PEFT); ``generate`` here has no use for it."""
        return {"input_ids": input_ids, **arguments}

    def predict(self, read: DecoderOutput, labels: Tensor | None, attention_mask: Tensor | None) -> CausalLMOutput:
        """Logits after each token that the backbone has read and, with labels, the loss."""
        logits = self.lm_head(read.last_hidden_state)
        loss = None if labels is None else next_token_loss(logits, labels, attention_mask)
        return CausalLMOutput(loss, logits, read.past_key_values, read.hidden_states, read.attentions)


class LMHeadModel(CausalLM):
    """A causal language model whose tokens may have types (Radford et al., 2018, section 3.1)."""

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> CausalLMOutput:
        """Logits of the next token after each token.

        Takes the arguments of the backbone, and these.

        Args:
            labels: The ids themselves, ``(..., tokens)``, which are shifted here; negative ones are not predicted.

        Returns:
            Logits, ``(..., tokens, vocabulary)``, and with labels the loss.
        """
        read = self.backbone(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        return self.predict(read, labels, attention_mask)


class DoubleHeadsModel(CausalLM):
    """A causal language model that also selects one of several texts (Radford et al., 2018, section 3.3)."""

    multiple_choice_head: ChoiceHead
    former_order: ClassVar[tuple[str, ...]] = (
        "mc_token_ids",
        "labels",
        "mc_labels",
        "token_type_ids",
        "position_ids",
        "past_key_values",
    )

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor | None = None,
        *,
        mc_token_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> DoubleHeadsOutput:
        """Logits of the next token after each token, and one of each choice.

        Takes the arguments of the backbone, and these.

        Args:
            input_ids: ``(batch, choices, tokens)``.
            mc_token_ids: Number of the token that sums up its text, ``(batch, choices)``; the last one unless given.
            labels: The ids themselves, which are shifted here; negative ones are not predicted.
            mc_labels: Numbers of the right choices, ``(batch,)``; negative ones are ignored.

        Returns:
            Logits, ``(batch, choices, tokens, vocabulary)`` and ``(batch, choices)``, and with labels the losses.
        """
        read = self.backbone(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        if mc_token_ids is None:
            mc_token_ids = last_tokens(tokens_of(input_ids, inputs_embeds), attention_mask)
        mc_logits = self.multiple_choice_head(read.last_hidden_state, mc_token_ids)
        mc_loss = None if mc_labels is None else classification_loss(mc_logits, mc_labels, "mc_labels")
        predicted = self.predict(read, labels, attention_mask)
        logits, past = predicted.logits, read.past_key_values
        return DoubleHeadsOutput(predicted.loss, mc_loss, logits, mc_logits, past, read.hidden_states, read.attentions)


class SequenceClassifier(nn.Module):
    """A causal backbone that classifies a text by its last token (Radford et al., 2018, section 3.3).

    An architecture derives its class from this one and from its own ``Model``, and makes ``transformer``, the backbone,
    and ``score`` in the constructor.
    """

    config: Any
    transformer: Any
    score: nn.Linear

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the classes of each text.

        The last token is that which is neither masked nor ``pad_token_id`` of the configuration.  Takes the arguments
        of the backbone, and these.

        Args:
            input_ids: ``(batch, tokens)``.
            labels: Class numbers, ``(batch,)``, the negative ones ignored; with one label, the numbers to predict.
                ``problem_type`` of the configuration may ask for several numbers, or for several labels of each text,
                0 or 1 for each class, ``(batch, classes)``.

        Returns:
            Logits, ``(batch, classes)``, and with labels the loss.

        Raises:
            InputError: The ids do not have that shape, or the labels do not fit.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        if tokens.dim() != 2:
            raise InputError(f"input_ids must have the shape (batch, tokens), not {tuple(tokens.shape)}.")
        read = self.transformer(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        last = last_tokens(tokens, attention_mask, None if input_ids is None else self.config.pad_token_id)
        texts = torch.arange(len(last), device=last.device)
        logits = self.score(read.last_hidden_state[texts, last])
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        return ClassificationOutput(loss, logits, read.hidden_states, read.attentions)
