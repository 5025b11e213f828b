"""BERT: an encoder pretrained by masked words and pairs of sentences (Devlin et al., 2018).

The layers below the model are in ``encoder.py``, the tasks it is fine-tuned for in ``finetuning.py``.  Modules and
parameters have the names of the published files.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.inputs import check_mask, check_shape, is_observed, tokens_of
from registry.nn.losses import classification_loss, token_loss
from registry.nn.outputs import ClassificationOutput, EncoderOutput, MaskedLMOutput, PretrainingOutput
from registry.nn.packing import rows_of
from registry.records import LazyRef

from .config import BertConfig
from .encoder import BertEmbeddings, BertEncoder, BertLayer
from .weights import LAYOUT

# --- On top of the encoder --------------------------------------------------------------------------------------------


class BertPooler(nn.Module):
    """Vector of a sequence: its first token, projected (Devlin et al., 2018, section 3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Pool ``(batch, tokens, width)`` to ``(batch, width)``; padding before the first token is ignored."""
        sequences = torch.arange(x.shape[0], device=x.device)
        first = 0 if attention_mask is None else (attention_mask != 0).int().argmax(dim=1)
        return self.dense(x[sequences, first]).tanh()


class BertPredictionHeadTransform(nn.Module):
    """Projection, activation and normalization before the decoder of the masked language model."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., width)``."""
        return self.LayerNorm(self.activation(self.dense(x)))


class BertMaskedLMHead(nn.Module):
    """Masked language model head; a model ties ``decoder.weight`` to the matrix that embeds words."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(..., vocabulary)`` of ``(..., width)``."""
        logits: Tensor = self.decoder(self.transform(x))
        if is_observed(self.decoder):
            return logits + self.bias
        return logits.add_(self.bias)  # in place: no other tensor of the model is as large


# --- The model --------------------------------------------------------------------------------------------------------


class BertPreTrainedModel(Model):
    """Base class of all BERT models."""

    config_class = BertConfig
    layout = LAYOUT
    block_classes = (BertLayer,)
    former_order: ClassVar[tuple[str, ...]] = (
        *("token_type_ids", "attention_mask"),
        *("labels", "next_sentence_label", "start_positions", "end_positions"),
    )
    parallel_plan = LazyRef("plugins.bert.parallel:PLAN")

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns: matrices normally distributed, norms 1, biases 0."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, (nn.Linear, nn.LayerNorm, BertMaskedLMHead)) and module.bias is not None:
            nn.init.zeros_(module.bias)


class BertModel(BertPreTrainedModel):
    """The encoder with its embeddings and, by default, the pooler."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> EncoderOutput:
        """Encode tokens.

        Args:
            input_ids: ``(batch, tokens)``.
            attention_mask: The same shape, 1 at tokens and 0 at padding, of any type; padding may be anywhere.
            token_type_ids: The same shape, the segment of each token; all 0 unless given.
            position_ids: The same shape, or ``(tokens,)`` for all sequences; 0, 1, 2, ... unless given.  A batch padded
                on the left needs them.
            inputs_embeds: Embeddings in place of the ids, ``(batch, tokens, width)``, as ``get_input_embeddings()``
                gives.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states, ``(batch, tokens, width)``, the pooled vectors, ``(batch, width)``, and what was asked for.

        Raises:
            InputError: A shape does not fit, a sequence is too long, or an id is unknown.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        if tokens.dim() != 2:
            raise InputError(f"input_ids must have the shape (batch, tokens), not {tuple(tokens.shape)}.")
        check_shape(attention_mask, tokens, "attention_mask")
        check_mask(attention_mask)
        check_shape(token_type_ids, tokens, "token_type_ids")
        embedded = self.embeddings(
            input_ids, token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds
        )
        encoded: EncoderOutput = self.encoder(
            embedded,
            attention_mask=attention_mask,
            output_hidden_states=bool(output_hidden_states),
            output_attentions=bool(output_attentions),
        )
        if self.pooler is None:
            return encoded
        pooled = self.pooler(encoded.last_hidden_state, attention_mask)
        return EncoderOutput(encoded.last_hidden_state, pooled, encoded.hidden_states, encoded.attentions)


# --- The tasks of pretraining -----------------------------------------------------------------------------------------


class BertForPreTraining(BertPreTrainedModel):
    """BERT with both heads of its pretraining: masked words, and next sentences."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        predictions = BertMaskedLMHead(config).apply(self.init_module)
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        seq_relationship = nn.Linear(config.hidden_size, 2).apply(self.init_module)
        self.cls = nn.ModuleDict({"predictions": predictions, "seq_relationship": seq_relationship})

    def forward(  # noqa: D417  # the others are those of BertModel
        self,
        input_ids: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> PretrainingOutput:
        """Logits of the word at each token, and of whether the second sentence follows the first.

        Takes the arguments of ``BertModel``, and these.

        Args:
            labels: Ids of the masked words, ``(batch, tokens)``, negative elsewhere.
            next_sentence_label: 0 where the second sentence follows, 1 where it is a random one, ``(batch,)``.

        Returns:
            Logits, ``(batch, tokens, vocabulary)`` and ``(batch, 2)``; with all labels, the sum of the losses.
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
        rows = rows_of(attention_mask, self.cls)
        words = self.cls["predictions"](rows.pack(encoded.last_hidden_state))
        follows = self.cls["seq_relationship"](encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(words, labels, rows, encoded.last_hidden_state.shape[:2])
            loss = loss + classification_loss(follows, next_sentence_label, "next_sentence_label")
        return PretrainingOutput(loss, rows.unpack(words), follows, encoded.hidden_states, encoded.attentions)


class BertForMaskedLM(BertPreTrainedModel):
    """BERT with a masked language model head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        predictions = BertMaskedLMHead(config).apply(self.init_module)
        predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        self.cls = nn.ModuleDict({"predictions": predictions})

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
    ) -> MaskedLMOutput:
        """Logits of the word at each token.

        Takes the arguments of ``BertModel``, and these.

        Args:
            labels: Ids of the masked words, ``(batch, tokens)``, negative elsewhere.

        Returns:
            Logits, ``(batch, tokens, vocabulary)``, and with labels the loss.
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
        rows = rows_of(attention_mask, self.cls)
        logits = self.cls["predictions"](rows.pack(encoded.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels, rows, encoded.last_hidden_state.shape[:2])
        return MaskedLMOutput(loss, rows.unpack(logits), encoded.hidden_states, encoded.attentions)


class BertForNextSentencePrediction(BertPreTrainedModel):
    """BERT with a next-sentence head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = nn.ModuleDict({"seq_relationship": nn.Linear(config.hidden_size, 2).apply(self.init_module)})

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
        """Logits of "the second sentence follows" and "it is a random one".

        Takes the arguments of ``BertModel``, and these.

        Args:
            labels: 0 where the second sentence follows, 1 where it is a random one, ``(batch,)``.

        Returns:
            Logits, ``(batch, 2)``, and with labels the loss.
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
        logits = self.cls["seq_relationship"](encoded.pooler_output)
        loss = None if labels is None else classification_loss(logits, labels)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)
