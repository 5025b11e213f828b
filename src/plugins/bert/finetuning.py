"""The tasks that BERT is fine-tuned for: one class for each (Devlin et al., 2018, section 4).

Modules and parameters have the names of the published files.
"""

from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.inputs import tokens_of
from registry.nn.losses import classification_loss, position_loss, sequence_loss, token_loss
from registry.nn.outputs import ClassificationOutput, QuestionAnsweringOutput
from registry.nn.packing import rows_of

from .config import BertConfig
from .modeling import BertModel, BertPreTrainedModel

MASKED_SCORE = -10000.0
"""The logit of padding as an end of an answer; a finite number of every floating-point type."""


def classifier_dropout(config: BertConfig) -> float:
    """The rate of dropout before a classifier."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


def _flat(x: Tensor | None) -> Tensor | None:
    """``(batch, choices, tokens)`` as ``(batch * choices, tokens)``."""
    return None if x is None else x.reshape(-1, x.shape[-1])


class BertForSequenceClassification(BertPreTrainedModel):
    """BERT with a classifier of a text, or of a pair of texts; ``problem_type`` says of which kind."""

    def __init__(self, config: BertConfig, num_labels: int | None = None) -> None:
        config = config.with_labels(num_labels)
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of BertModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the classes of each text.

        Takes the arguments of ``BertModel``, and these.

        Args:
            labels: Class numbers, ``(batch,)``, the negative ones ignored; with one label, the numbers to predict.
                ``problem_type`` of the configuration may ask for several numbers, or for several labels of each text,
                0 or 1 for each class, ``(batch, classes)``.

        Returns:
            Logits, ``(batch, classes)``, and with labels the loss.
        """
        encoded = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForTokenClassification(BertPreTrainedModel):
    """BERT with a classifier of each token: names, parts of speech."""

    def __init__(self, config: BertConfig, num_labels: int | None = None) -> None:
        config = config.with_labels(num_labels)
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of BertModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the classes of each token.

        Takes the arguments of ``BertModel``, and these.

        Args:
            labels: Class numbers, ``(batch, tokens)``; negative ones, and those at padding, are ignored.

        Returns:
            Logits, ``(batch, tokens, classes)``, and with labels the loss.
        """
        encoded = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        rows = rows_of(attention_mask, self.dropout, self.classifier)
        logits = self.classifier(self.dropout(rows.pack(encoded.last_hidden_state)))
        loss = None if labels is None else token_loss(logits, labels, rows, encoded.last_hidden_state.shape[:2])
        return ClassificationOutput(loss, rows.unpack(logits), encoded.hidden_states, encoded.attentions)


class BertForMultipleChoice(BertPreTrainedModel):
    """BERT with a classifier that selects one of several continuations."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, 1).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of BertModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the choices.

        Takes the arguments of ``BertModel``, and these.

        Args:
            input_ids: ``(batch, choices, tokens)``; masks, types and positions have the same shape.
            labels: Numbers of the right choices, ``(batch,)``.

        Returns:
            Logits, ``(batch, choices)``, and with labels the loss.  Every choice is encoded as a text of its own, so
            that hidden states and attentions have one axis for batch and choices.

        Raises:
            InputError: The ids do not have that shape, or ``BertModel`` refuses a choice.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        if tokens.dim() != 3:
            raise InputError(f"input_ids must have the shape (batch, choices, tokens), not {tuple(tokens.shape)}.")
        encoded = self.bert(
            _flat(input_ids),
            attention_mask=_flat(attention_mask),
            token_type_ids=_flat(token_type_ids),
            position_ids=_flat(position_ids),
            inputs_embeds=None if inputs_embeds is None else inputs_embeds.flatten(0, 1),
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(tokens.shape[:2])
        loss = None if labels is None else classification_loss(logits, labels)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForQuestionAnswering(BertPreTrainedModel):
    """BERT with a classifier of the ends of the answer to a question (SQuAD)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of BertModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> QuestionAnsweringOutput:
        """Logits of each token as the first and as the last one of the answer.

        Takes the arguments of ``BertModel``, and these.

        Args:
            start_positions: Number of the first token of each answer, ``(batch,)``; one behind the sequence is
                ignored, a negative one means the first token.
            end_positions: Number of the last token, likewise.

        Returns:
            Logits, twice ``(batch, tokens)``; -10,000 at padding, so that neither a prediction nor the loss depends on
            it.  With both kinds of labels, the mean of their losses.
        """
        encoded = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        rows = rows_of(attention_mask, self.qa_outputs)
        logits = rows.unpack(self.qa_outputs(rows.pack(encoded.last_hidden_state)), padding=MASKED_SCORE)
        start, end = logits.unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = position_loss(start, start_positions, "start_positions")
            loss = (loss + position_loss(end, end_positions, "end_positions")) / 2
        return QuestionAnsweringOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
