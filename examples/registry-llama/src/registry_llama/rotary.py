"""Rotary positions (Su et al., 2021, section 3.2): pairs of features are rotated by an angle for each position.

The attention between two tokens then depends on their distance, and on nothing else of their positions.
"""

from collections.abc import Callable, Mapping
from math import pi
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .config import LlamaConfig

Angles: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and sines, each ``(batch or 1, tokens, 1, features of a head)``."""


def angles(config: LlamaConfig, positions: Tensor, dtype: torch.dtype) -> Angles:
    """Cosines and sines of the angles at ``positions``, which are ``(..., tokens)``; computed in 32 bits."""
    halves = positions.reshape(-1, positions.shape[-1], 1, 1).float() * frequencies(config, positions.device)
    both = torch.cat([halves, halves], dim=-1)
    return both.cos().to(dtype), both.sin().to(dtype)


def rotate(x: Tensor, at: Angles) -> Tensor:
    """Rotate the features of heads, ``(batch, tokens, heads, width)``, each with the one half a width away."""
    cos, sin = at
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def frequencies(config: LlamaConfig, device: torch.device) -> Tensor:
    """The angle per position of each pair of features, ``(width / 2,)``, in radians."""
    width = config.head_width
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    return SCALINGS[config.scaling](1.0 / config.rope_theta**exponents, config.rope_scaling or {})


# --- Scaling ----------------------------------------------------------------------------------------------------------


def _unscaled(frequencies: Tensor, _numbers: Mapping[str, Any]) -> Tensor:
    return frequencies


def _linear(frequencies: Tensor, numbers: Mapping[str, Any]) -> Tensor:
    """Position interpolation (Chen et al., 2023, section 2.3): as if tokens stood closer together."""
    return frequencies / numbers["factor"]


def _llama3(frequencies: Tensor, numbers: Mapping[str, Any]) -> Tensor:
    """Llama 3.1's: low frequencies are divided, high ones kept, and those between interpolated.

    A frequency is low with fewer than ``low_freq_factor`` periods in the context of the training, and high with more
    than ``high_freq_factor``.
    """
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    periods = numbers["original_max_position_embeddings"] * frequencies / (2 * pi)
    share = ((periods - low) / (high - low)).clamp(0, 1)
    return (1 - share) * frequencies / numbers["factor"] + share * frequencies


SCALINGS: Mapping[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    "default": _unscaled,
    "linear": _linear,
    "llama3": _llama3,
}
"""The function of each kind of scaling, by its name in a configuration."""
