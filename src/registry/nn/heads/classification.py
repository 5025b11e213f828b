"""A head that classifies a text by its last token."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.cache import KeyValueCache, KeyValues
from registry.nn.inputs import tokens_of
from registry.nn.losses import sequence_loss
from registry.nn.outputs import ClassificationOutput


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
