"""Base classes of models with an encoder, with a decoder or without."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.attention import CausalState, CausalStateWithWeights
from registry.nn.cache import cache_after
from registry.nn.inputs import embed_tokens, tokens_of
from registry.nn.outputs import EncoderOutput, Seq2SeqOutput
from registry.nn.packing import RowsWithWeights, rows_of
from registry.nn.seq2seq.attention import CrossState, CrossStateWithWeights, Past


class HiddenStates:
    """The hidden states of a forward pass, kept where they are asked for: ``x = shown(x)`` before each layer.

    Args:
        show: Makes what is returned of the input of a layer, and what to continue with: ``Rows.show``, or that of a
            ``CausalState``.
        wanted: Whether they are asked for.
    """

    def __init__(self, show: Callable[[Tensor], tuple[Tensor, Tensor]], wanted: bool) -> None:
        self._show = show
        self._kept: list[Tensor] | None = [] if wanted else None

    def __call__(self, x: Tensor) -> Tensor:
        """Keep the input of a layer, and return what to continue with."""
        if self._kept is None:
            return x
        shown, x = self._show(x)
        self._kept.append(shown)
        return x

    def with_last(self, x: Tensor) -> tuple[Tensor, ...] | None:
        """All that were kept, and the output of the model; None where they are not asked for."""
        return None if self._kept is None else (*self._kept, x)


class WithEncoder(nn.Module):
    """A model that has an encoder.

    An architecture derives its class from one of those below and from its own ``Model``, and makes ``encoder`` in
    the constructor: a module that is called with embeddings, ``(batch, tokens, width)``, with the ``Rows`` by which it
    packs them and attends, and with ``HiddenStates``; it returns packed rows.
    """

    config: Any
    encoder: Any

    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """Embeddings of the tokens of a text or an answer, ``(batch, tokens, width)``: rows of the input embeddings."""
        this: Any = self  # a ``Model`` as well
        return embed_tokens(this.get_input_embeddings(), input_ids, inputs_embeds)

    def encode(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """The encoder's output, as ``forward`` of an ``EncoderOnly`` gives it.

        Raises:
            InputError: A shape does not fit, or an id is unknown.
        """
        tokens_of(input_ids, inputs_embeds)  # one of them
        rows = RowsWithWeights(attention_mask) if output_attentions else rows_of(attention_mask, self.encoder)
        shown = HiddenStates(rows.show, output_hidden_states)
        x = rows.unpack(self.encoder(self.embed(input_ids, inputs_embeds), rows, shown))
        return EncoderOutput(x, None, shown.with_last(x), rows.attentions)


class EncoderOnly(WithEncoder):
    """The encoder of an encoder-decoder alone."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> EncoderOutput:
        """Read texts.

        Args:
            input_ids: ``(batch, tokens)``.
            attention_mask: ``(batch, tokens)``, 1 at tokens and 0 at padding, which may be anywhere.
            inputs_embeds: Embeddings in place of the ids, ``(batch, tokens, width)``.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states, ``(batch, tokens, width)``, zero at padding, and what was asked for.

        Raises:
            InputError: A shape does not fit, or an id is unknown.
        """
        return self.encode(
            input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=bool(output_hidden_states),
            output_attentions=bool(output_attentions),
        )


class EncoderDecoder(WithEncoder):
    """A model of two parts: an encoder reads a text, and a decoder, which attends to what the encoder made of it.

    An architecture makes ``decoder`` as well: a module that is called with embeddings, ``(batch, tokens, width)``, with
    the ``CausalState`` and the ``CrossState`` by which its layers attend, and with ``HiddenStates``; it returns
    features of the same shape.
    """

    decoder: Any

    def decode(
        self,
        input_ids: Tensor | None = None,
        *,
        encoded: Tensor,
        encoded_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Past = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Seq2SeqOutput:
        """The decoder's output, without the fields of the encoder.

        Args:
            input_ids: New tokens, ``(batch, tokens)``.
            encoded: Output of the encoder, ``(texts, tokens of a text, width)``.
            encoded_mask: ``(texts, tokens of a text)``, zero at padding.
            attention_mask: ``(batch, tokens so far)``, zero at padding.
            inputs_embeds: Embeddings in place of the ids, ``(batch, tokens, width)``.
            past_key_values: What an earlier call returned under this name, or a ``Seq2SeqCache``.
            use_cache: Whether to return keys and values.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too.
        """
        causal = CausalStateWithWeights if output_attentions else CausalState
        across = CrossStateWithWeights if output_attentions else CrossState
        own: Any = past_key_values  # of whose entries the first two tensors are the decoder's own
        state = causal(tokens_of(input_ids, inputs_embeds), attention_mask, cache_after(own, use_cache))
        cross = across(encoded, encoded_mask, past_key_values, use_cache=use_cache)
        shown = HiddenStates(state.show, output_hidden_states)
        x = state.restore(self.decoder(self.embed(input_ids, inputs_embeds), state, cross, shown))
        return Seq2SeqOutput(
            last_hidden_state=x,
            past_key_values=cross.past_key_values(state.past_key_values) if use_cache else None,
            decoder_hidden_states=shown.with_last(x),
            decoder_attentions=state.attentions,
            cross_attentions=cross.attentions,
        )

    def forward(
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
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Seq2SeqOutput:
        """Read texts, and with each the tokens of a decoder, after those in ``past_key_values``.

        Args:
            input_ids: The texts, ``(batch, tokens)``.
            attention_mask: ``(batch, tokens)``, 1 at tokens of the texts and 0 at padding, which may be anywhere.
            decoder_input_ids: Tokens of the decoder, ``(batch, tokens of the decoder)``.
            decoder_attention_mask: ``(batch, tokens of the decoder so far)``, 1 at tokens and 0 at padding.
            encoder_outputs: The output of the encoder in place of the texts, a record or a tuple that begins with
                hidden states.
            inputs_embeds: Embeddings in place of ``input_ids``, ``(batch, tokens, width)``.
            decoder_inputs_embeds: Embeddings in place of ``decoder_input_ids``.
            past_key_values: What an earlier call returned under this name, or a ``Seq2SeqCache``, which is written to.
            use_cache: Whether to return keys and values.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states of the decoder and the encoder, keys and values, and what was asked for.

        Raises:
            InputError: Nothing is given for the encoder or the decoder, a shape does not fit, or an id is unknown.
        """
        shown = {"output_hidden_states": bool(output_hidden_states), "output_attentions": bool(output_attentions)}
        read = encoder_outputs
        if read is None:
            encode = type(self).encode  # of the class: this is inside of the call for which FSDP gathers parameters
            read = encode(self, input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **shown)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise InputError(
                "decoder_input_ids are missing: the decoder has nothing to read.",
                hint="model.generate makes them, and labels do for a model with a head; model.encode needs none.",
            )
        output = self.decode(
            decoder_input_ids,
            encoded=read[0],
            encoded_mask=attention_mask,
            attention_mask=decoder_attention_mask,
            inputs_embeds=decoder_inputs_embeds,
            past_key_values=past_key_values,
            use_cache=bool(use_cache),
            **shown,
        )
        output.encoder_last_hidden_state = read[0]
        output.encoder_hidden_states = getattr(read, "hidden_states", None)
        output.encoder_attentions = getattr(read, "attentions", None)
        return output
