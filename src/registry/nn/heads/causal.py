"""Causal models: the backbone, a language model head, and what generation needs of a model that has one."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from torch import Tensor, nn

from registry.nn.attention import CausalState, CausalStateWithWeights
from registry.nn.cache import KeyValueCache, KeyValues, StaticKeyValueCache, cache_after
from registry.nn.inputs import check_fits, check_length, check_shape, tokens_of
from registry.nn.losses import next_token_loss
from registry.nn.outputs import CausalLMOutput, DecoderOutput


class CausalBackbone(nn.Module):
    """A causal model without a head: tokens in, hidden states out.

    An architecture derives its class from this one and from its own ``Model``, makes its modules in the constructor,
    says how long a text may be and how many layers have keys and values, and defines ``embed`` and ``transform``.
    Positions, the causal mask, the cache and the output are made here.
    """

    @property
    @abstractmethod
    def context_size(self) -> int:
        """Tokens of the longest sequence."""

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """Layers with keys and values."""

    @abstractmethod
    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, position_ids: Tensor) -> Tensor:
        """The input of the first layer, ``(..., tokens, width)``.

        Args:
            input_ids: ``(..., tokens)``, or None.
            inputs_embeds: What is given in their place, or None.
            position_ids: Of the shape of the ids, or ``(tokens,)``.
        """

    @abstractmethod
    def transform(self, x: Tensor, position_ids: Tensor, state: CausalState) -> Tensor:
        """The output of the last layer, normalized where the architecture does so.

        Args:
            x: What ``embed`` made, with all leading axes as one, ``(batch, tokens, width)``.
            position_ids: Of the shape of the ids, or ``(tokens,)``.
            state: ``state.attend_in(number)`` is attention in the layer of that number, and ``state.keep(x)`` is its
                input, kept where hidden states are wanted.

        Returns:
            The shape of ``x``.
        """

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> DecoderOutput:
        """Read tokens, after those in ``past_key_values``.

        Args:
            input_ids: ``(..., tokens)``.
            attention_mask: ``(..., tokens so far)``, 1 at tokens and 0 at padding, which may be anywhere; of any type.
            position_ids: Of the shape of the ids, or ``(tokens,)``; unless given, the number of tokens before each,
                padding not counted.
            inputs_embeds: Embeddings in place of the ids, ``(..., tokens, width)``, of ``get_input_embeddings()``.
            past_key_values: What an earlier call returned under this name, or a ``StaticKeyValueCache``, which is
                written to.
            use_cache: Whether to return keys and values.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states, ``(..., tokens, width)``, keys and values, and what was asked for.

        Raises:
            InputError: A shape does not fit, a sequence is too long, or an id is unknown.
        """
        return self.read(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )

    def read(
        self,
        input_ids: Tensor | None,
        *,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past_key_values: KeyValueCache | Iterable[KeyValues] | None,
        use_cache: bool | None,
        output_hidden_states: bool | None,
        output_attentions: bool | None,
        **further: Tensor | None,
    ) -> DecoderOutput:
        """What ``forward`` returns; ``further`` are arguments of ``embed``, each of the shape of the ids or None."""
        kind = CausalStateWithWeights if output_attentions else CausalState
        tokens = tokens_of(input_ids, inputs_embeds)
        hidden: list[Tensor] | None = [] if output_hidden_states else None
        past = cache_after(past_key_values, use_cache, self.num_layers)
        state = kind(tokens, attention_mask, past, hidden=hidden)
        if position_ids is None:
            check_length(state.length, self.context_size)
            position_ids = state.positions(tokens.device)
        elif position_ids.dim() > 1:
            check_fits(position_ids, tokens, "position_ids")
            position_ids = position_ids.expand_as(tokens)
        for name, tensor in further.items():
            check_shape(tensor, tokens, name)
        x = state.flat(self.embed(input_ids, inputs_embeds, position_ids, **further))
        x = state.restore(self.transform(x, position_ids, state))
        return DecoderOutput(
            last_hidden_state=x,
            past_key_values=state.past_key_values if use_cache else None,
            hidden_states=None if hidden is None else (*hidden, x),
            attentions=state.attentions,
        )


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

    def forward(  # noqa: D417  # the others are those of the backbone
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
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
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        return self.predict(read, labels, attention_mask)
