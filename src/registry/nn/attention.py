"""Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1), with heads as the last axis but one.

Projections give ``(..., tokens, heads, width of a head)``, and the next projection wants it back like that, so that is
the shape in and out of everything here.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it


class Attend(Protocol):
    """A way to attend, which a layer is given; who gives it knows which rows belong together."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Mix ``value`` by the likeness of ``query`` and ``key``; the result has the shape of ``query``.

        So have the others, or they have fewer heads, each of which as many of the query's neighbouring heads share
        (Ainslie et al., 2023).  ``dropout`` is the probability with which a weight is dropped.
        """
        ...


def attention(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Let every token attend to every token of its sequence, of shape ``(..., tokens, heads, width)``.

    ``mask`` is boolean, broadcasts to ``(..., heads, tokens, tokens)``, and is true where a token may attend.
    """
    given = query.dtype
    if query.shape[-3] == 1 and given == torch.bfloat16 and query.device.type == "cpu":
        query, key, value = query.float(), key.float(), value.float()  # for one query, twice as fast as the kernel
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))
    shared = are_shared(query, key)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, enable_gqa=shared)
    return mixed.transpose(-3, -2).to(given)


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The same as ``attention``, slower; also gives the weights, ``(..., heads, tokens, tokens)``, before dropout."""
    query, key, value = (x.transpose(-3, -2) for x in (query, key, value))
    if are_shared(query, key):
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], dim=-3) for x in (key, value))
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(dim=-1)
    return (F.dropout(weights, dropout) @ value).transpose(-3, -2), weights


def are_shared(query: Tensor, key: Tensor) -> bool:
    """Whether several heads of ``query`` share one of ``key``; both are ``(..., heads, tokens, width)``."""
    return query.shape[-3] != key.shape[-3]
