"""What ``forward`` returns: one named tuple for each kind of head.

The loss comes first where there is one, and fields are named as in transformers.  What was not asked for, or what the
model does not have, is None.  All have these two fields:

``hidden_states``
    With ``output_hidden_states``, the embeddings and then the result of each layer, each ``(..., tokens, width)``.
``attentions``
    With ``output_attentions``, the weights of each layer, each ``(batch, heads, tokens, tokens)``; behind a past, the
    last axis has all tokens so far.

At padding, hidden states and logits are zero, unless a field says otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class EncoderOutput(NamedTuple):
    """What an encoder makes of its tokens."""

    last_hidden_state: Tensor
    """The result of the last layer, ``(batch, tokens, width)``."""
    pooler_output: Tensor | None = None
    """One vector for each sequence, ``(batch, width)``, where the model has a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class DecoderOutput(NamedTuple):
    """What a causal model makes of its tokens."""

    last_hidden_state: Tensor
    """The result of the last layer, ``(..., tokens, width)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, to go on from."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class CausalLMOutput(NamedTuple):
    """Which tokens could come next."""

    loss: Tensor | None
    """Mean over the tokens that are labelled and have one before them."""
    logits: Tensor
    """Scores of each token of the vocabulary behind each token, ``(..., tokens, vocabulary)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, to go on from."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MemoryOutput(NamedTuple):
    """What a causal model with a memory makes of its tokens."""

    last_hidden_state: Tensor
    """The result of the last layer, ``(batch, tokens, width)``."""
    mems: Sequence[Tensor]
    """For each layer, what it read of the latest tokens, ``(batch, remembered tokens, width)``, to go on from."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MemoryLMOutput(NamedTuple):
    """Which tokens could come next, or how well those which come were predicted."""

    loss: Tensor | None
    """Mean over the tokens that are labelled and have one before them."""
    losses: Tensor | None
    """For each token the negative log-probability of the one that follows, ``(batch, tokens)``; zero where nothing is
    labelled."""
    logits: Tensor | None
    """Log-probabilities of each token of the vocabulary behind each token, ``(batch, tokens, vocabulary)``; None where
    losses were asked for, which need a small part of them."""
    mems: Sequence[Tensor]
    """For each layer, what it read of the latest tokens, ``(batch, remembered tokens, width)``, to go on from."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class DoubleHeadsOutput(NamedTuple):
    """Which tokens could come next, and which of several texts is the right one."""

    loss: Tensor | None
    """The language model's: mean over the tokens that are labelled and have one before them."""
    mc_loss: Tensor | None
    """The choice's: mean over what is labelled."""
    logits: Tensor
    """Scores of each token of the vocabulary behind each token, ``(..., choices, tokens, vocabulary)``."""
    mc_logits: Tensor
    """Scores of the texts, ``(..., choices)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, to go on from."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class PretrainingOutput(NamedTuple):
    """What the two heads of BERT's pretraining predict."""

    loss: Tensor | None
    """The sum of both losses, if both kinds of labels are given."""
    prediction_logits: Tensor
    """Scores of each word for each token, ``(batch, tokens, vocabulary)``."""
    seq_relationship_logits: Tensor
    """Scores of "the second sentence follows" and "it is a random one", ``(batch, 2)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MaskedLMOutput(NamedTuple):
    """Which words could stand where."""

    loss: Tensor | None
    """Mean over the labelled tokens."""
    logits: Tensor
    """Scores of each word for each token, ``(batch, tokens, vocabulary)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class ClassificationOutput(NamedTuple):
    """Which class a sequence, a token or a pair of sentences belongs to, or which choice is the right one."""

    loss: Tensor | None
    """Mean over what is labelled."""
    logits: Tensor
    """Scores: ``(batch, classes)``, ``(batch, choices)``, or for tokens ``(batch, tokens, classes)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class QuestionAnsweringOutput(NamedTuple):
    """Where in its sequence an answer begins and ends."""

    loss: Tensor | None
    """The mean of the losses of both ends, if both are given."""
    start_logits: Tensor
    """Scores of each token as the first of the answer, ``(batch, tokens)``; the lowest of numbers at padding."""
    end_logits: Tensor
    """Scores of each token as the last of the answer, ``(batch, tokens)``; the lowest of numbers at padding."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
