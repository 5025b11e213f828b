"""The causal mask of Transformer-XL: which tokens, new ones and those of the memory, each new token attends to.

Axes:  B batch,  T new tokens,  S tokens that are attended to: those of the memory, then the new ones.
"""

import torch
from torch import Tensor

from registry.nn.inputs import can_branch_on, check_mask


def padding_of(attention_mask: Tensor | None) -> Tensor | None:
    """True at padding, of the shape of the mask; None where it is known that there is none."""
    if attention_mask is None:
        return None
    check_mask(attention_mask)
    padding = attention_mask == 0
    return padding if not can_branch_on(padding) or padding.any() else None


def without(padding: Tensor | None, x: Tensor) -> Tensor:
    """Features, ``(B, T, width)``, with zeros at padding."""
    return x if padding is None else x.masked_fill(padding[..., None], 0.0)


def leading(padding: Tensor | None) -> Tensor | None:
    """How much padding is before the tokens of each sequence, ``(B,)``."""
    return None if padding is None else padding.long().cumprod(dim=1).sum(dim=1)


def hidden_tokens(
    new: int, attended: int, *, span: int | None, skipped: Tensor | None, device: torch.device
) -> Tensor | None:
    """True where a new token does not attend to another one.

    Args:
        new: T.
        attended: S.
        span: Tokens that each attends to, itself included; None for all before it.
        skipped: ``(B,)``, padding before the tokens of a sequence.  It stands for memory that is still empty:
            where all tokens before are attended to, there is as much less of it as there is padding.
        device: Where the mask is needed.

    Returns:
        ``(T, S)`` or ``(B, 1, T, S)``; None where every token attends to everything.  Every token attends to itself,
        padding too: a softmax over nothing would give NaN.
    """
    if new == 1 and span is None and skipped is None:
        return None
    index = torch.arange(attended, device=device)
    distance = index[-new:, None] - index
    hidden = distance < 0
    if span is not None:
        hidden = hidden | (distance >= span)
    elif skipped is not None:
        hidden = hidden | ((index < skipped[:, None, None, None]) & (distance != 0))
    return hidden if not can_branch_on(hidden) or hidden.any() else None
