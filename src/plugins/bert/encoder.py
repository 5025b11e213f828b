"""The encoder of BERT, upwards from its smallest part (Devlin et al., 2018, section 3).

Layers take ``(batch, tokens, width)``.  Inside the encoder they take ``(rows, width)`` as well, where the rows are the
tokens of all sequences without any padding; ``attend`` then knows which rows form a sequence.  Modules and parameters
bear the names of the published files.
"""

import torch
from torch import Tensor, nn

from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import Attend, attention
from registry.nn.inputs import check_length, embed_ids
from registry.nn.onednn import Linear
from registry.nn.outputs import EncoderOutput
from registry.nn.packing import RowsWithWeights, rows_of

from .config import BertConfig


class BertEmbeddings(nn.Module):
    """The sum of what a word, its position and its segment contribute, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Embed ids of shape ``(batch, tokens)`` as ``(batch, tokens, width)``.

        Positions count from 0, and all tokens are of segment 0, unless given.  Raises InputError for a sequence longer
        than the positions that there are, and for an id outside of its table.
        """
        if position_ids is None:
            check_length(input_ids.shape[-1], self.position_embeddings)
            position_ids = torch.arange(input_ids.shape[-1], device=input_ids.device)
        if token_type_ids is None:
            token_type_ids = input_ids.new_zeros(1)
        words = embed_ids(self.word_embeddings, input_ids, "input_ids")
        positions = embed_ids(self.position_embeddings, position_ids, "position_ids")
        segments = embed_ids(self.token_type_embeddings, token_type_ids, "token_type_ids")
        return self.dropout(self.LayerNorm(words + segments + positions))


class BertSelfAttention(nn.Module):
    """Every token attends to every token of its sequence, with several heads."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.query = Linear(config.hidden_size, config.hidden_size)
        self.key = Linear(config.hidden_size, config.hidden_size)
        self.value = Linear(config.hidden_size, config.hidden_size)
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)`` or ``(rows, width)``, into as many of the same shape."""
        query, key, value = (
            project(x).unflatten(-1, (self.num_heads, -1)) for project in (self.query, self.key, self.value)
        )
        return attend(query, key, value, dropout=self.dropout if self.training else 0.0).flatten(-2)


class BertAddNorm(nn.Module):
    """A projection back to the width of the model, added to the input of the sub-layer, and normalised."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Project ``x``, and add it to ``before``, which has the shape of the result."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class BertAttention(nn.Module):
    """Self-attention, added to its input and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertAddNorm(config, config.hidden_size)

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)`` or ``(rows, width)``."""
        return self.output(self.self(x, attend), x)


class BertIntermediate(nn.Module):
    """The wide inside of a feed-forward net."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Widen ``(..., width)`` to ``(..., intermediate width)``."""
        return self.activation(self.dense(x))


class BertLayer(nn.Module):
    """Attention, then a feed-forward net, each added to what it was given, and normalised after that (post-norm)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertAddNorm(config, config.intermediate_size)

    def forward(self, x: Tensor, attend: Attend = attention) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)`` or ``(rows, width)``."""
        x = self.attention(x, attend)
        return self.output(self.intermediate(x), x)


class BertEncoder(nn.Module):
    """The layers, one after the other; padding is not computed."""

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
        """Transform ``x``, ``(batch, tokens, width)``; ``attention_mask``, ``(batch, tokens)``, is zero at padding."""
        rows = RowsWithWeights(attention_mask) if output_attentions else rows_of(attention_mask)
        x = rows.pack(x)
        states = []
        for layer in self.layer:
            if output_hidden_states:
                states.append(rows.unpack(x))
            x = layer(x, rows.attend)
        x = rows.unpack(x)
        return EncoderOutput(
            last_hidden_state=x,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=rows.attentions,
        )
