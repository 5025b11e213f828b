"""The layers of Transformer-XL, upwards from their parts (Dai et al., 2019, section 3.3).

Layers take and give ``(B, T, W)``.  Modules and parameters have the names of the published files.

Axes:  B batch,  T new tokens,  S tokens that are attended to,  H heads,  W features,  D width of a head.
"""

from functools import partial

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.inputs import is_traced
from registry.nn.projections import refuse_divided

from .cache import Memory
from .config import TransfoXLConfig
from .context import LayerContext, Lengths, SegmentContext
from .positions import sinusoids


class TransfoXLAttention(nn.Module):
    """Attention by content and by distance to the token itself, those before it and the memory."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        width = config.n_head * config.d_head
        self.qkv_net = nn.Linear(config.d_model, 3 * width, bias=False)
        self.r_net = nn.Linear(config.d_model, width, bias=False)
        self.o_net = nn.Linear(width, config.d_model, bias=False)
        self.r_w_bias = nn.Parameter(torch.empty(config.n_head, config.d_head))  # u of the paper
        self.r_r_bias = nn.Parameter(torch.empty(config.n_head, config.d_head))  # v of the paper
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.drop = nn.Dropout(config.dropout)
        self.dropatt = config.dropatt
        self.pre_lnorm = config.pre_lnorm

    def forward(self, x: Tensor, context: LayerContext | None = None) -> Tensor:
        """Mix the tokens of ``x``, ``(B, T, W)``, with those of a context; without one, with each other."""
        context = alone(x) if context is None else context
        states = context.states(x)  # of the memory, too, where its keys and values were not kept
        projected = self.qkv_net(self.layer_norm(states) if self.pre_lnorm else states)
        refuse_divided(self.qkv_net, projected)
        projected = self._by_head(projected)
        query = projected[0].narrow(-2, states.shape[1] - x.shape[1], x.shape[1])  # (B, H, T, D)
        keys_values = context.keys_values(projected[1:])  # (2, B, H, S, D)
        distances = context.distances(self.r_net, self.r_r_bias.shape[1])  # (H, D, S + 1)
        if not is_traced() and distances.shape[0] != query.shape[1]:
            raise InputError(
                f"r_net gives {distances.shape[0]} heads and qkv_net {query.shape[1]}: is one divided alone?"
            )
        by_distance = torch.einsum("bhtd,hds->bhts", query + self.r_r_bias[:, None], distances)
        dropout = self.dropatt if self.training else 0.0
        mixed = context.attend(query + self.r_w_bias[:, None], keys_values, by_distance, dropout=dropout)
        added = x + self.drop(self.o_net(mixed.transpose(-3, -2).flatten(-2)))
        return added if self.pre_lnorm else self.layer_norm(added)

    @property
    def projections(self) -> tuple[nn.Module, ...]:
        """What keys, values and distances are projected by."""
        return (self.qkv_net, self.r_net, self.layer_norm) if self.pre_lnorm else (self.qkv_net, self.r_net)

    def _by_head(self, projected: Tensor) -> Tensor:
        """Queries, keys and values, ``(3, B, H, T, D)``, of a projection, ``(B, T, 3 * H * D)``."""
        return projected.view(*projected.shape[:-1], 3, *self.r_w_bias.shape).permute(2, 0, 3, 1, 4)


def alone(x: Tensor) -> LayerContext:
    """The context of a layer without memory, for ``(B, T, W)``."""
    encode = partial(sinusoids, width=x.shape[-1], dtype=x.dtype)
    return SegmentContext.of(x, Memory.nothing(1, 0, x), Lengths(), encode).layers[0]


class TransfoXLFeedForward(nn.Module):
    """Feed-forward network, applied to each token."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.CoreNet = nn.Sequential(
            nn.Linear(config.d_model, config.d_inner),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_inner, config.d_model),
            nn.Dropout(config.dropout),
        )
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.pre_lnorm = config.pre_lnorm

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(..., W)``."""
        if self.pre_lnorm:
            return x + self.CoreNet(self.layer_norm(x))
        return self.layer_norm(x + self.CoreNet(x))


class TransfoXLBlock(nn.Module):
    """Attention, then a feed-forward network, each added and normalized."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.dec_attn = TransfoXLAttention(config)
        self.pos_ff = TransfoXLFeedForward(config)

    def forward(self, x: Tensor, context: LayerContext | None = None) -> Tensor:
        """Transform ``(B, T, W)``, attending to a context."""
        return self.pos_ff(self.dec_attn(x, context))
