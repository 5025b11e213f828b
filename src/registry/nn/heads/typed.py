"""What GPT and GPT-2 have in common: types of tokens, and two heads on one backbone (Radford et al., 2018)."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.cache import KeyValueCache, KeyValues
from registry.nn.heads.causal import CausalBackbone, CausalLM
from registry.nn.heads.classification import last_tokens
from registry.nn.inputs import tokens_of
from registry.nn.losses import classification_loss
from registry.nn.outputs import CausalLMOutput, DecoderOutput, DoubleHeadsOutput


class TypedBackbone(CausalBackbone):
    """A causal backbone whose tokens may have types, which are tokens, too (Radford et al., 2018, section 3.1)."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
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
            token_type_ids: Further tokens, of the shape of the ids, whose embeddings are added.
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
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )


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

    def forward(  # type: ignore[override]  # noqa: D417  # a second head; others are those of the backbone
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
