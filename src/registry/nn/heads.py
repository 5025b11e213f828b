"""Heads of causal models, and what generation needs of a model that has one."""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.cache import KeyValueCache, KeyValues, StaticKeyValueCache
from registry.nn.losses import classification_loss, next_token_loss
from registry.nn.outputs import CausalLMOutput, DecoderOutput, DoubleHeadsOutput


def last_tokens(input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """The number of the last token of each text.

    Args:
        input_ids: ``(..., tokens)``.
        mask: ``(..., tokens)``, zero at padding; a longer one ends with these tokens.

    Returns:
        ``(...)``.

    """
    tokens = input_ids.shape[-1]
    if mask is None:
        return input_ids.new_full(input_ids.shape[:-1], tokens - 1)
    numbers = torch.arange(tokens, device=mask.device)
    return ((mask[..., -tokens:] != 0) * numbers).argmax(dim=-1)


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
        read = self.backbone(input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache)
        return self.lm_head(read.last_hidden_state[:, -1])

    def predict(self, read: DecoderOutput, labels: Tensor | None, attention_mask: Tensor | None) -> CausalLMOutput:
        """Logits after each token that the backbone has read and, with labels, the loss."""
        logits = self.lm_head(read.last_hidden_state)
        loss = None if labels is None else next_token_loss(logits, labels, attention_mask)
        return CausalLMOutput(loss, logits, *read[1:])


class LMHeadModel(CausalLM):
    """A causal language model whose tokens may have types (Radford et al., 2018, section 3.1)."""

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
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
            past_key_values=past_key_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        return self.predict(read, labels, attention_mask)


class DoubleHeadsModel(CausalLM):
    """A causal language model that also selects one of several texts (Radford et al., 2018, section 3.3)."""

    multiple_choice_head: ChoiceHead

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor,
        *,
        mc_token_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
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
            past_key_values=past_key_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        if mc_token_ids is None:
            mc_token_ids = last_tokens(input_ids, attention_mask)
        mc_logits = self.multiple_choice_head(read.last_hidden_state, mc_token_ids)
        mc_loss = None if mc_labels is None else classification_loss(mc_logits, mc_labels, "mc_labels")
        predicted = self.predict(read, labels, attention_mask)
        return DoubleHeadsOutput(predicted.loss, mc_loss, predicted.logits, mc_logits, *read[1:])
