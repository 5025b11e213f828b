"""Outputs of ``forward``: one named tuple for each kind of head.

The loss comes first where there is one, and fields have the names of transformers.  What was not asked for, or what the
model does not have, is None.  All have these two fields:

``hidden_states``
    With ``output_hidden_states``, the embeddings and then the output of each layer, each ``(..., tokens, width)``.
``attentions``
    With ``output_attentions``, the attention weights of each layer, each ``(batch, heads, tokens, tokens)``; with a
    cache, the last axis has all tokens so far.

At padding, hidden states and logits are zero, unless a field says otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class EncoderOutput(NamedTuple):
    """Output of an encoder."""

    last_hidden_state: Tensor
    """Output of the last layer, ``(batch, tokens, width)``."""
    pooler_output: Tensor | None = None
    """One vector for each sequence, ``(batch, width)``, where the model has a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class DecoderOutput(NamedTuple):
    """Output of a causal model without a head."""

    last_hidden_state: Tensor
    """Output of the last layer, ``(..., tokens, width)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class CausalLMOutput(NamedTuple):
    """Output of a causal language model."""

    loss: Tensor | None
    """Mean over the tokens that are labeled and have one before them."""
    logits: Tensor
    """Logits of the token after each token, ``(..., tokens, vocabulary)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MemoryOutput(NamedTuple):
    """Output of a causal model with a memory, without a head."""

    last_hidden_state: Tensor
    """Output of the last layer, ``(batch, tokens, width)``."""
    mems: Sequence[Tensor]
    """Input of each layer at the latest tokens, ``(batch, tokens in memory, width)``, for the next call."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MemoryLMOutput(NamedTuple):
    """Output of a causal language model with a memory."""

    loss: Tensor | None
    """Mean over the tokens that are labeled and have one before them."""
    losses: Tensor | None
    """Negative log-probability of the token after each token, ``(batch, tokens)``; zero where nothing is labeled."""
    logits: Tensor | None
    """Log-probabilities of the token after each token, ``(batch, tokens, vocabulary)``; None with labels, whose losses
    need a small part of them."""
    mems: Sequence[Tensor]
    """Input of each layer at the latest tokens, ``(batch, tokens in memory, width)``, for the next call."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class DoubleHeadsOutput(NamedTuple):
    """Output of a causal language model with a multiple-choice head."""

    loss: Tensor | None
    """The language model's: mean over the tokens that are labeled and have one before them."""
    mc_loss: Tensor | None
    """The choice's: mean over what is labeled."""
    logits: Tensor
    """Logits of the token after each token, ``(..., choices, tokens, vocabulary)``."""
    mc_logits: Tensor
    """Logits of the choices, ``(..., choices)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class PretrainingOutput(NamedTuple):
    """Output of a masked language model with a next-sentence head."""

    loss: Tensor | None
    """The sum of both losses, if both kinds of labels are given."""
    prediction_logits: Tensor
    """Logits of the word at each token, ``(batch, tokens, vocabulary)``."""
    seq_relationship_logits: Tensor
    """Logits of "the second sentence follows" and "it is a random one", ``(batch, 2)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MaskedLMOutput(NamedTuple):
    """Output of a masked language model."""

    loss: Tensor | None
    """Mean over the labeled tokens."""
    logits: Tensor
    """Logits of the word at each token, ``(batch, tokens, vocabulary)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class ClassificationOutput(NamedTuple):
    """Output of a classifier of sequences, tokens, pairs of sentences or choices."""

    loss: Tensor | None
    """Mean over what is labeled."""
    logits: Tensor
    """Logits: ``(batch, classes)``, ``(batch, choices)``, or for tokens ``(batch, tokens, classes)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class QuestionAnsweringOutput(NamedTuple):
    """Output of a classifier of the ends of an answer."""

    loss: Tensor | None
    """The mean of the losses of both ends, if both are given."""
    start_logits: Tensor
    """Logits of each token as the first of the answer, ``(batch, tokens)``; -10,000 at padding."""
    end_logits: Tensor
    """Logits of each token as the last of the answer, ``(batch, tokens)``; -10,000 at padding."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
