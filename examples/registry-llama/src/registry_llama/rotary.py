"""Rotary positions (Su et al., 2021, section 3.2): pairs of features are turned by an angle for each position.

What two heads say to each other then depends on how far they are apart, and on nothing else of where they stand.
"""

from collections.abc import Callable, Mapping
from math import pi
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .config import LlamaConfig

Turns: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and sines, each ``(batch or 1, tokens, 1, features of a head)``."""


def turns(config: LlamaConfig, positions: Tensor, dtype: torch.dtype) -> Turns:
    """Cosines and sines of the angles at ``positions``, which are ``(..., tokens)``; computed in 32 bits."""
    angles = positions.reshape(-1, positions.shape[-1], 1, 1).float() * speeds(config, positions.device)
    both = torch.cat([angles, angles], dim=-1)
    return both.cos().to(dtype), both.sin().to(dtype)


def turn(x: Tensor, by: Turns) -> Tensor:
    """Turn the features of heads, ``(batch, tokens, heads, width)``; each is paired with the one half a width away."""
    cos, sin = by
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def speeds(config: LlamaConfig, device: torch.device) -> Tensor:
    """The angle per position of each pair of features, ``(width / 2,)``, in radians."""
    width = config.head_width
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    return SCALINGS[config.scaling](1.0 / config.rope_theta**exponents, config.rope_scaling or {})


# --- Scaling ----------------------------------------------------------------------------------------------------------


def _unscaled(speeds: Tensor, _numbers: Mapping[str, Any]) -> Tensor:
    return speeds


def _linear(speeds: Tensor, numbers: Mapping[str, Any]) -> Tensor:
    """Position interpolation (Chen et al., 2023, section 2.3): as if tokens stood closer together."""
    return speeds / numbers["factor"]


def _llama3(speeds: Tensor, numbers: Mapping[str, Any]) -> Tensor:
    """Llama 3.1's: only long waves are stretched, short ones stay, and those between are mixed of both.

    A wave is long that turns fewer than ``low_freq_factor`` times in the context of the training, and short when it
    turns more than ``high_freq_factor`` times.
    """
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    times = numbers["original_max_position_embeddings"] * speeds / (2 * pi)
    share = ((times - low) / (high - low)).clamp(0, 1)
    return (1 - share) * speeds / numbers["factor"] + share * speeds


SCALINGS: Mapping[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    "default": _unscaled,
    "linear": _linear,
    "llama3": _llama3,
}
"""What each kind of scaling makes of the speeds."""
