"""RoBERTa: the encoder of BERT, whose positions are counted after padding, and its own heads."""

from typing import Any, TypeAlias

import torch
from attrs import evolve
from torch import Tensor, nn

from registry.loading.model import Model
from registry.nn.inputs import check_length, tokens_of
from registry.nn.losses import sequence_loss, token_loss
from registry.nn.outputs import ClassificationOutput, EncoderOutput, MaskedLMOutput, Output
from registry.nn.packing import rows_of
from registry.zoo import BertModel

from .config import RobertaConfig

Ids: TypeAlias = Tensor | None

WORDS = "roberta.embeddings.word_embeddings.weight"
LAYOUT = evolve(
    BertModel.layout,
    prefix="roberta.",
    parts=("roberta.pooler.", "lm_head.", "classifier."),
    ties=((WORDS, "lm_head.decoder.weight"), ("lm_head.bias", "lm_head.decoder.bias")),
    vocabulary=(WORDS, "lm_head.decoder.weight", "lm_head.bias"),
)


class RobertaModel(BertModel):
    """The encoder with its embeddings and, by default, the pooler."""

    config_class = RobertaConfig
    layout = LAYOUT
    parallel_plan = None

    def forward(self, input_ids: Ids = None, *, position_ids: Ids = None, **kw: Any) -> EncoderOutput:
        """Encode tokens; takes the arguments of BERT's model, and counts positions after that of padding."""
        if position_ids is None:
            tokens, first = tokens_of(input_ids, kw.get("inputs_embeds")), (self.config.pad_token_id or 0) + 1
            check_length(tokens.shape[-1], self.config.max_position_embeddings - first)
            mask = kw.get("attention_mask")
            mask = torch.ones_like(tokens, dtype=torch.long) if mask is None else (mask != 0).long()
            position_ids = (mask.cumsum(-1) - 1).clamp(min=0) + first
        return super().forward(input_ids, position_ids=position_ids, **kw)


class RobertaLMHead(nn.Module):
    """Scores of words, with the matrix that embeds them."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(..., vocabulary)`` of ``(..., width)``."""
        return self.decoder(self.layer_norm(nn.functional.gelu(self.dense(x))))


class RobertaForMaskedLM(Model):
    """RoBERTa with a masked language model head."""

    config_class, layout, init_module = RobertaConfig, LAYOUT, BertModel.init_module
    block_classes = BertModel.block_classes

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config).apply(self.init_module)
        self.lm_head.decoder.weight = self.roberta.embeddings.word_embeddings.weight

    def forward(self, input_ids: Ids = None, *, attention_mask: Ids = None, labels: Ids = None, **kw: Any) -> Output:
        """Logits ``(batch, tokens, vocabulary)``; ``labels`` are ids of masked words, negative elsewhere."""
        read = self.roberta(input_ids, attention_mask=attention_mask, **kw)
        rows = rows_of(attention_mask, self.lm_head)
        logits = self.lm_head(rows.pack(read.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels, rows, read.last_hidden_state.shape[:2])
        return MaskedLMOutput(loss, rows.unpack(logits), read.hidden_states, read.attentions)


class RobertaForSequenceClassification(Model):
    """RoBERTa with a classifier of texts, or of pairs, by their first token."""

    config_class, layout, init_module = RobertaConfig, LAYOUT, BertModel.init_module
    block_classes = BertModel.block_classes

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        width = config.hidden_size
        layers = {"dense": nn.Linear(width, width), "out_proj": nn.Linear(width, config.num_labels)}
        self.classifier = nn.ModuleDict(layers).apply(self.init_module)

    def forward(self, input_ids: Ids = None, *, attention_mask: Ids = None, labels: Ids = None, **kw: Any) -> Output:
        """Logits ``(batch, classes)``; ``labels`` are class numbers, ``(batch,)``."""
        read = self.roberta(input_ids, attention_mask=attention_mask, **kw)
        x = read.last_hidden_state
        if attention_mask is not None:  # the first token of a text that is padded on the left
            x = x[torch.arange(len(x), device=x.device), (attention_mask != 0).int().argmax(-1), None]
        x = self.classifier["dense"](self.dropout(x[:, 0])).tanh()
        logits = self.classifier["out_proj"](self.dropout(x))
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        return ClassificationOutput(loss, logits, read.hidden_states, read.attentions)
