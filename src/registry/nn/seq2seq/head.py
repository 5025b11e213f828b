"""The language model head of an encoder-decoder, and what generation needs of a model that has one."""

from sys import maxsize
from typing import Any

import torch
from torch import Tensor, nn

from registry.errors import ConfigError, InputError
from registry.nn.cache import KeyValueCache
from registry.nn.losses import classification_loss
from registry.nn.outputs import Seq2SeqLMOutput
from registry.nn.seq2seq.attention import Past, Seq2SeqCache
from registry.nn.seq2seq.models import EncoderDecoder


class Seq2SeqLM(EncoderDecoder):
    """An encoder-decoder with a language model head, as generation uses it.

    An architecture makes ``lm_head`` as well, and its decoder has ``num_layers``.  Its configuration has
    ``decoder_start_token_id``, which begins every answer, and ``pad_token_id``.
    """

    generation_config: Any
    lm_head: nn.Linear

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence of the decoder: any number, unless an architecture has a limit."""
        return maxsize

    def predict(self, x: Tensor) -> Tensor:
        """Logits, ``(..., vocabulary)``, of the token after each, by the decoder's output, ``(..., width)``."""
        return self.lm_head(x)

    def forward(  # type: ignore[override]  # noqa: D417  # it takes those of EncoderDecoder, and returns another record
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        past_key_values: Past = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Seq2SeqLMOutput:
        """Logits of the next token after each token of the decoder.

        Takes the arguments of ``EncoderDecoder``, and these.

        Args:
            labels: The tokens to predict, ``(batch, tokens of the decoder)``; negative ones are not predicted.  Unless
                ``decoder_input_ids`` are given, these are the labels, one token later.

        Returns:
            Logits, ``(batch, tokens of the decoder, vocabulary)``, and with labels the loss.
        """
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        read = EncoderDecoder.forward(
            self,
            input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            inputs_embeds=inputs_embeds,
            decoder_inputs_embeds=decoder_inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        fields = dict(read.items())
        logits = self.predict(fields.pop("last_hidden_state"))
        loss = None if labels is None else classification_loss(logits, labels)
        return Seq2SeqLMOutput(loss=loss, logits=logits, **fields)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What the decoder reads to predict ``labels``, ``(batch, tokens)``: the token before each.

        Negative labels, which are not predicted, become padding.  Collators of transformers call it by this name.

        Raises:
            ConfigError: The configuration names no first token.
        """
        before = torch.cat([self.first_ids(labels), labels[:, :-1]], dim=1)
        return before.masked_fill(before < 0, self.config.pad_token_id or 0)

    def first_ids(self, texts: Tensor) -> Tensor:
        """The token that begins an answer, for each of ``texts``, ``(batch, ...)``; ``(batch, 1)``.

        Raises:
            ConfigError: Neither ``generation_config`` nor the configuration names it.
        """
        number = self.generation_config.get("decoder_start_token_id")
        number = self.config.decoder_start_token_id if number is None else number
        if number is None:
            raise ConfigError(
                "The configuration does not say which token begins an answer: decoder_start_token_id is null.",
                hint="Set it: model.config.decoder_start_token_id = model.config.pad_token_id, for example.",
            )
        return torch.full((len(texts), 1), number, dtype=torch.long, device=texts.device)

    def score(
        self,
        input_ids: Tensor,
        cache: KeyValueCache,
        *,
        encoded: Tensor,
        encoded_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of the token after the last one, ``(batch, vocabulary)``.

        Args:
            input_ids: New tokens, ``(batch, tokens)``, which are appended to ``cache``.
            cache: A ``Seq2SeqCache``.
            encoded: Output of the encoder, ``(texts, tokens of a text, width)``.
            encoded_mask: ``(texts, tokens of a text)``, zero at padding.
            attention_mask: ``(batch, tokens so far)``, zero at padding.
        """
        read = self.decode(
            input_ids,
            encoded=encoded,
            encoded_mask=encoded_mask,
            attention_mask=attention_mask,
            past_key_values=cache,
            use_cache=True,
        )
        return self.predict(read.last_hidden_state[:, -1])

    def start(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, decoder_input_ids: Tensor | None = None
    ) -> "tuple[EncodedTexts, Tensor]":
        """What generation begins with; see ``registry.generation.Seq2SeqModel``.

        Args:
            input_ids: The texts, as ``encode`` takes them.
            attention_mask: ``(batch, tokens)``, zero at padding.
            decoder_input_ids: What each answer begins with, ``(batch, tokens)``; None for the first token alone.

        Returns:
            The decoder at these texts, a ``registry.generation.CausalModel``, and the first ids of the answers.

        Raises:
            InputError: There are not as many beginnings as texts.
            ConfigError: No token begins an answer.
        """
        first = self.first_ids(input_ids) if decoder_input_ids is None else decoder_input_ids
        if len(first) != len(input_ids):
            raise InputError(f"decoder_input_ids begin {len(first)} answers, where there are {len(input_ids)} texts.")
        return EncodedTexts(self, input_ids, attention_mask), first


class EncodedTexts:
    """A decoder at texts, which are encoded when its cache is made: a ``registry.generation.CausalModel``.

    Args:
        model: The model.
        input_ids: The texts, as ``encode`` takes them.
        attention_mask: ``(batch, tokens)``, zero at padding.
    """

    def __init__(self, model: Seq2SeqLM, input_ids: Tensor, attention_mask: Tensor | None) -> None:
        self._model = model
        self._input_ids = input_ids
        self._mask = attention_mask
        self.processes = getattr(model, "processes", None)
        """The processes that share the model."""

    @property
    def context_size(self) -> int:
        """Tokens of the longest sequence of the decoder."""
        return self._model.context_size

    def new_cache(self, batch: int, capacity: int) -> Seq2SeqCache:
        """An empty cache for ``batch`` sequences of up to ``capacity`` tokens; the texts are encoded for it."""
        self._encoded = self._model.encode(self._input_ids, attention_mask=self._mask).last_hidden_state
        return Seq2SeqCache(layers=self._model.decoder.num_layers, batch=batch, capacity=capacity)

    def score(
        self,
        input_ids: Tensor,
        cache: KeyValueCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,  # noqa: ARG002  # the mask says which tokens are counted
        top: int | None = None,  # noqa: ARG002  # one product makes all scores
    ) -> Tensor:
        """Logits of the token after the last one; arguments as for ``registry.generation.CausalModel``."""
        return self._model.score(
            input_ids, cache, encoded=self._encoded, encoded_mask=self._mask, attention_mask=attention_mask
        )
