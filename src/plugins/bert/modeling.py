"""BERT: an encoder pretrained by masked words and pairs of sentences (Devlin et al., 2018), and a class for each task.

The layers below the model stand in ``encoder.py``.  Modules and parameters bear the names of the published files.
"""

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.inputs import check_shape, with_keywords_of
from registry.nn.losses import IGNORED, classification_loss, regression_loss
from registry.nn.onednn import Linear
from registry.nn.outputs import (
    ClassificationOutput,
    EncoderOutput,
    MaskedLMOutput,
    PretrainingOutput,
    QuestionAnsweringOutput,
)
from registry.nn.packing import rows_of

from .config import BertConfig
from .encoder import BertEmbeddings, BertEncoder
from .weights import LAYOUT

NEVER = -10000.0
"""The score of what cannot be chosen; a finite number of every floating-point type."""

# --- On top of the encoder --------------------------------------------------------------------------------------------


class BertPooler(nn.Module):
    """One vector for a sequence: its first token, once more transformed."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Pool ``(batch, tokens, width)`` to ``(batch, width)``; padding is passed over."""
        sequences = torch.arange(x.shape[0], device=x.device)
        first = 0 if attention_mask is None else (attention_mask != 0).int().argmax(dim=1)
        return self.dense(x[sequences, first]).tanh()


class BertTransform(nn.Module):
    """What a token goes through before it is compared with words."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.LayerNorm(self.activation(self.dense(x)))


class BertMaskedLMHead(nn.Module):
    """Scores of all words for each token; a model ties ``decoder.weight`` to the matrix that embeds words."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertTransform(config)
        self.decoder = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        """Score ``(..., width)`` as ``(..., vocabulary)``."""
        scores: Tensor = self.decoder(self.transform(x))
        return scores.add_(self.bias)  # in place: no other tensor of the model is as large


# --- The model --------------------------------------------------------------------------------------------------------


class BertPreTrainedModel(Model):
    """What all classes of BERT have in common."""

    config_class = BertConfig
    layout = LAYOUT

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, BertMaskedLMHead)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class BertInputs(TypedDict, total=False):
    """The keywords of ``BertModel``, which every head takes as well."""

    attention_mask: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    output_hidden_states: bool
    output_attentions: bool


class BertModel(BertPreTrainedModel):
    """The encoder with its embeddings and, unless told otherwise, the pooler."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Encode ids of shape ``(batch, tokens)``.

        ``attention_mask``
            Of the same shape, 1 at tokens and 0 at padding, of any type; padding may stand anywhere.
        ``token_type_ids``
            Of the same shape, the segment of each token; all 0 unless given.
        ``position_ids``
            Of the same shape, or ``(tokens,)`` for all sequences; 0, 1, 2, ... unless given.  A batch padded on the
            left needs them.
        ``output_hidden_states``, ``output_attentions``
            Whether to return these too; the latter computes attention the slow way.

        Raises InputError when a shape does not fit, a sequence is too long, or an id is unknown.
        """
        if input_ids.dim() != 2:
            raise InputError(f"input_ids must have the shape (batch, tokens), not {tuple(input_ids.shape)}.")
        check_shape(attention_mask, input_ids, "attention_mask")
        check_shape(token_type_ids, input_ids, "token_type_ids")
        embedded = self.embeddings(input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        encoded: EncoderOutput = self.encoder(
            embedded,
            attention_mask=attention_mask,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        if self.pooler is None:
            return encoded
        return encoded._replace(pooler_output=self.pooler(encoded.last_hidden_state, attention_mask))


# --- One class for each task ------------------------------------------------------------------------------------------


def with_labels(config: BertConfig, num_labels: int | None) -> BertConfig:
    """The configuration for that many classes; names of classes are kept where their number stays."""
    return config if num_labels in (None, config.num_labels) else config.replace(num_labels=num_labels)


def classifier_dropout(config: BertConfig) -> float:
    """The rate of dropout before a classifier."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


def answer_loss(scores: Tensor, positions: Tensor) -> Tensor:
    """Cross entropy of one end of the answers; ``positions`` outside of the sequence are ignored."""
    return classification_loss(scores, positions.masked_fill(positions >= scores.shape[-1], IGNORED))


class BertForPreTraining(BertPreTrainedModel):
    """Masked words and next sentences, the two tasks of pretraining."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        predictions = BertMaskedLMHead(config).apply(self._init)
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        seq_relationship = Linear(config.hidden_size, 2).apply(self._init)
        self.cls = nn.ModuleDict({"predictions": predictions, "seq_relationship": seq_relationship})

    @with_keywords_of(BertModel.forward)
    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **inputs: Unpack[BertInputs],
    ) -> PretrainingOutput:
        """Score every word for each token, and whether the second sentence follows the first.

        ``labels``, ``(batch, tokens)``, are the ids of the words that were masked, negative elsewhere;
        ``next_sentence_label``, ``(batch,)``, is 0 where the second sentence follows, and 1 where it is a random one.
        """
        encoded = self.bert(input_ids, **inputs)
        rows = rows_of(inputs.get("attention_mask"))
        words = self.cls["predictions"](rows.pack(encoded.last_hidden_state))
        follows = self.cls["seq_relationship"](encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = classification_loss(words, rows.pack(labels, padding=IGNORED))
            loss = loss + classification_loss(follows, next_sentence_label)
        return PretrainingOutput(loss, rows.unpack(words), follows, encoded.hidden_states, encoded.attentions)


class BertForMaskedLM(BertPreTrainedModel):
    """The words that could stand behind ``[MASK]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        predictions = BertMaskedLMHead(config).apply(self._init)
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        self.cls = nn.ModuleDict({"predictions": predictions})

    @with_keywords_of(BertModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[BertInputs]
    ) -> MaskedLMOutput:
        """Score every word for each token of ``(batch, tokens)``.

        ``labels``, of the same shape, are the ids of the words that were masked, negative elsewhere.
        """
        encoded = self.bert(input_ids, **inputs)
        rows = rows_of(inputs.get("attention_mask"))
        logits = self.cls["predictions"](rows.pack(encoded.last_hidden_state))
        loss = None if labels is None else classification_loss(logits, rows.pack(labels, padding=IGNORED))
        return MaskedLMOutput(loss, rows.unpack(logits), encoded.hidden_states, encoded.attentions)


class BertForNextSentencePrediction(BertPreTrainedModel):
    """Whether the second sentence follows the first."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = nn.ModuleDict({"seq_relationship": Linear(config.hidden_size, 2).apply(self._init)})

    @with_keywords_of(BertModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[BertInputs]
    ) -> ClassificationOutput:
        """Score "it follows" and "it does not" for pairs of shape ``(batch, tokens)``.

        ``labels``, ``(batch,)``, are 0 where the second sentence follows, and 1 where it is a random one.
        """
        encoded = self.bert(input_ids, **inputs)
        logits = self.cls["seq_relationship"](encoded.pooler_output)
        loss = None if labels is None else classification_loss(logits, labels)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForSequenceClassification(BertPreTrainedModel):
    """The class of a text or of a pair of texts; with one label, a number instead (regression)."""

    def __init__(self, config: BertConfig, num_labels: int | None = None) -> None:
        config = with_labels(config, num_labels)
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = Linear(config.hidden_size, config.num_labels).apply(self._init)

    @with_keywords_of(BertModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[BertInputs]
    ) -> ClassificationOutput:
        """Score classes, ``(batch, classes)``, for texts of shape ``(batch, tokens)``.

        ``labels``, ``(batch,)``, are class numbers, the negative ones ignored; with one label, the numbers to predict.
        """
        encoded = self.bert(input_ids, **inputs)
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss_of = regression_loss if logits.shape[-1] == 1 else classification_loss
        loss = None if labels is None else loss_of(logits, labels)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForTokenClassification(BertPreTrainedModel):
    """The class of each token: names, parts of speech."""

    def __init__(self, config: BertConfig, num_labels: int | None = None) -> None:
        config = with_labels(config, num_labels)
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = Linear(config.hidden_size, config.num_labels).apply(self._init)

    @with_keywords_of(BertModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[BertInputs]
    ) -> ClassificationOutput:
        """Score classes, ``(batch, tokens, classes)``, for tokens of shape ``(batch, tokens)``.

        ``labels``, of the same shape, are class numbers; negative ones, and those at padding, are ignored.
        """
        encoded = self.bert(input_ids, **inputs)
        rows = rows_of(inputs.get("attention_mask"))
        logits = self.classifier(self.dropout(rows.pack(encoded.last_hidden_state)))
        loss = None if labels is None else classification_loss(logits, rows.pack(labels, padding=IGNORED))
        return ClassificationOutput(loss, rows.unpack(logits), encoded.hidden_states, encoded.attentions)


class BertForMultipleChoice(BertPreTrainedModel):
    """Which of several continuations is the right one."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = Linear(config.hidden_size, 1).apply(self._init)

    @with_keywords_of(BertModel.forward)
    def forward(
        self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Unpack[BertInputs]
    ) -> ClassificationOutput:
        """Score choices, ``(batch, choices)``, where ids and masks have the shape ``(batch, choices, tokens)``.

        ``labels``, ``(batch,)``, are the numbers of the right choices.  Every choice is a text of its own to the
        encoder: hidden states and attentions begin with an axis of batch times choices.
        """
        if input_ids.dim() != 3:
            raise InputError(f"input_ids must have the shape (batch, choices, tokens), not {tuple(input_ids.shape)}.")
        texts = {name: x.reshape(-1, x.shape[-1]) if isinstance(x, Tensor) else x for name, x in inputs.items()}
        encoded = self.bert(input_ids.flatten(0, 1), **texts)
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(input_ids.shape[:2])
        loss = None if labels is None else classification_loss(logits, labels)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class BertForQuestionAnswering(BertPreTrainedModel):
    """Where in a text the answer to a question begins and ends (SQuAD)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = Linear(config.hidden_size, 2).apply(self._init)

    @with_keywords_of(BertModel.forward)
    def forward(
        self,
        input_ids: Tensor,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Unpack[BertInputs],
    ) -> QuestionAnsweringOutput:
        """Score every token of ``(batch, tokens)`` as the first and as the last of the answer.

        ``start_positions`` and ``end_positions``, ``(batch,)``, are numbers of tokens; those which lie outside of the
        sequence are ignored.  Padding scores -10,000, so that neither a prediction nor the loss depends on it.
        """
        encoded = self.bert(input_ids, **inputs)
        rows = rows_of(inputs.get("attention_mask"))
        scores = rows.unpack(self.qa_outputs(rows.pack(encoded.last_hidden_state)), padding=NEVER)
        start, end = scores.unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (answer_loss(start, start_positions) + answer_loss(end, end_positions)) / 2
        return QuestionAnsweringOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
