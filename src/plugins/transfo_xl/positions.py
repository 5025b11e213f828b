"""Relative positions of Transformer-XL (Dai et al., 2019, section 3.3): distances, not places, are encoded.

Axes:  B batch,  T new tokens,  S tokens that are attended to,  H heads.
"""

import torch
from torch import Tensor

LONGEST_WAVE = 10_000
"""Wave lengths rise from 2 pi to this many times 2 pi (Vaswani et al., 2017, section 3.5)."""


def distances_to(attended: int, clamp_len: int, device: torch.device) -> Tensor:
    """Distances from a token to everything that is attended to.

    Args:
        attended: S.
        clamp_len: The largest distance; 0 for no limit.
        device: Where they are needed.

    Returns:
        ``(S + 1,)``, the farthest first, down to 0; then -1, the distance of nothing, which the shift needs.
    """
    distances = torch.arange(attended - 1, -2, -1, device=device, dtype=torch.float32)
    return distances.clamp(max=clamp_len) if clamp_len else distances


def sinusoids(distances: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Features of distances: sines, then cosines, and not in turn as in Vaswani et al., 2017.

    Args:
        distances: ``(distances,)``.
        width: Features of each.
        dtype: The type of the features.

    Returns:
        ``(distances, width)``.
    """
    exact = torch.promote_types(dtype, torch.float32)
    evens = torch.arange(0, width, 2, device=distances.device, dtype=exact)
    frequencies = 1 / LONGEST_WAVE ** (evens / width)  # a quotient would round otherwise than pytorch-pretrained-bert
    angles = distances[:, None].to(exact) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width].to(dtype)


def relative_shift(scores: Tensor, attended: int) -> Tensor:
    """Scores of distances as scores of tokens (appendix B).

    The distance from token ``t`` to token ``s`` has the index ``s + T - 1 - t``: one less in each row.  In memory that
    is one run of numbers, with rows shorter by one.

    Args:
        scores: ``(B, H, T, S + 1)``.
        attended: S.

    Returns:
        ``(B, H, T, S)``, in the same memory.
    """
    new = scores.shape[-2]
    run = scores.flatten(-2).narrow(-1, new - 1, new * attended)
    return run.view(*scores.shape[:-1], attended)
