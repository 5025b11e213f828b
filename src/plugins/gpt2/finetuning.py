"""The tasks that GPT-2 is fine-tuned for: one class for each, as in transformers.

Modules and parameters have the names of the published files.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from registry.nn.cache import KeyValueCache, KeyValues
from registry.nn.heads import SequenceClassifier
from registry.nn.inputs import class_numbers
from registry.nn.losses import IGNORED, classification_loss
from registry.nn.outputs import ClassificationOutput

from .config import GPT2Config
from .modeling import GPT2Model, GPT2PreTrainedModel

DROPOUT = 0.1
"""Dropout before the classifier of tokens, unless ``classifier_dropout`` says another rate."""


class GPT2ForSequenceClassification(SequenceClassifier, GPT2PreTrainedModel):
    """GPT-2 with a classifier of a text, by its last token; ``problem_type`` says of which kind."""

    def __init__(self, config: GPT2Config, num_labels: int | None = None) -> None:
        config = config.with_labels(num_labels)
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False).apply(self.init_module)


class GPT2ForTokenClassification(GPT2PreTrainedModel):
    """GPT-2 with a classifier of each token: names, parts of speech."""

    def __init__(self, config: GPT2Config, num_labels: int | None = None) -> None:
        config = config.with_labels(num_labels)
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.dropout = nn.Dropout(DROPOUT if config.classifier_dropout is None else config.classifier_dropout)
        self.classifier = nn.Linear(config.n_embd, config.num_labels).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of GPT2Model
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
        """Logits of the classes of each token.

        Takes the arguments of ``GPT2Model``, and these.

        Args:
            labels: Class numbers, ``(..., tokens)``; negative ones, and those at padding, are ignored.

        Returns:
            Logits, ``(..., tokens, classes)``, and with labels the loss.
        """
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
        logits = self.classifier(self.dropout(read.last_hidden_state))
        padding = None if attention_mask is None else attention_mask[..., -logits.shape[-2] :] == 0
        loss = None
        if labels is not None:
            labels = class_numbers(labels, logits.shape[:-1], logits.shape[-1])
            loss = classification_loss(logits, labels if padding is None else labels.masked_fill(padding, IGNORED))
        if padding is not None:
            logits = logits.masked_fill(padding[..., None], 0.0)
        return ClassificationOutput(loss, logits, read.hidden_states, read.attentions)
