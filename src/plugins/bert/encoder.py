"""The encoder of BERT, bottom up (Devlin et al., 2018, section 3).

Layers take ``(batch, tokens, width)`` or, inside the encoder, ``(rows, width)``, where the rows are the tokens of all
sequences without any padding.  ``attend`` is attention within each sequence: ``Rows.attend`` of
``registry.nn.packing``, or ``attention`` for a layer alone.  Modules and parameters have the names of the published
files.
"""

import torch
from torch import Tensor, nn

from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, attention
from registry.nn.inputs import check_length, embed_ids, embed_tokens, tokens_of
from registry.nn.outputs import EncoderOutput
from registry.nn.packing import RowsWithWeights, rows_of
from registry.nn.projections import check_heads

from .config import BertConfig


class BertEmbeddings(nn.Module):
    """The sum of the embeddings of word, position and segment, normalized."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embed tokens.

        Args:
            input_ids: ``(batch, tokens)``.
            token_type_ids: The segment of each token, of the same shape; all 0 unless given.
            position_ids: Of the same shape, or ``(tokens,)``; 0, 1, 2, ... unless given.
            inputs_embeds: Embeddings in place of the ids, ``(batch, tokens, width)``.

        Returns:
            ``(batch, tokens, width)``.

        Raises:
            InputError: There are more tokens than positions, or an id is outside of its table.
        """
        tokens = tokens_of(input_ids, inputs_embeds)
        if position_ids is None:
            check_length(tokens.shape[-1], self.position_embeddings.weight.shape[0])
            position_ids = torch.arange(tokens.shape[-1], device=tokens.device)
        if token_type_ids is None:
            token_type_ids = torch.zeros(1, dtype=torch.long, device=tokens.device)
        words = embed_tokens(self.word_embeddings, input_ids, inputs_embeds)
        positions = embed_ids(self.position_embeddings, position_ids, "position_ids", tokens)
        segments = embed_ids(self.token_type_embeddings, token_type_ids, "token_type_ids", tokens)
        return self.dropout(self.LayerNorm(words + segments + positions))


class BertSelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.head_width = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)`` or ``(rows, width)``, by ``attend``."""
        query, key, value = (  # each (..., heads, width of a head)
            project(x).unflatten(-1, (-1, self.head_width)) for project in (self.query, self.key, self.value)
        )
        check_heads(query, key, value)
        return attend(query, key, value, dropout=self.dropout if self.training else 0.0).flatten(-2)


class BertResidual(nn.Module):
    """Projection back to the width of the model, residual connection and normalization."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Project ``x``, and add it to ``before``, which has the shape of the result."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class BertAttention(nn.Module):
    """Self-attention with its residual connection and normalization."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertResidual(config, config.hidden_size)

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)`` or ``(rows, width)``."""
        return self.output(self.self(x, attend), x)


class BertIntermediate(nn.Module):
    """First half of the feed-forward network: projection up and activation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., width)`` to ``(..., intermediate width)``."""
        return self.activation(self.dense(x))


class BertLayer(nn.Module):
    """Attention, then a feed-forward network, each added to its input and normalized after that (post-norm)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertResidual(config, config.intermediate_size)

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)`` or ``(rows, width)``."""
        x = self.attention(x, attend)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The layers, one after the other; padding is not computed (``registry.nn.packing``)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        x: Tensor,
        *,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> EncoderOutput:
        """Run all layers.

        Args:
            x: ``(batch, tokens, width)``.
            attention_mask: ``(batch, tokens)``, zero at padding.
            output_hidden_states: Whether to return the input of each layer, too.
            output_attentions: Whether to return attention weights, too, which are computed the slow way.

        Returns:
            Hidden states, ``(batch, tokens, width)``, zero at padding, and what was asked for.
        """
        rows = RowsWithWeights(attention_mask) if output_attentions else rows_of(attention_mask, self.layer)
        x = rows.pack(x)
        states = []
        for layer in self.layer:
            if output_hidden_states:
                state, x = rows.show(x)
                states.append(state)
            x = layer(x, rows.attend)
        x = rows.unpack(x)
        return EncoderOutput(x, None, (*states, x) if output_hidden_states else None, rows.attentions)
