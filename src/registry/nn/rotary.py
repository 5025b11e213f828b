"""Rotary positions (Su et al., 2021, section 3.2): pairs of features are rotated by an angle for each position.

The attention between two tokens then depends on their distance, and on nothing else of their positions.
"""

from collections.abc import Callable, Mapping
from math import ceil, floor, log, pi
from typing import Any, TypeAlias

import torch
from torch import Tensor

from registry.config.rotary import scaling_kind

Angles: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and sines, each ``(batch or 1, tokens, 1, rotated features of a head)``."""


def rotary_angles(
    positions: Tensor,
    dtype: torch.dtype,
    *,
    width: int,
    theta: float,
    longest: int,
    scaling: Mapping[str, Any] | None = None,
) -> Angles:
    """Cosines and sines of the angles at some positions, computed in 32 bits.

    Args:
        positions: ``(..., tokens)``.
        dtype: Type of the result.
        width: Features of a head that are rotated, an even number.
        theta: Base of the frequencies (``rope_theta``).
        longest: Tokens of the longest text of the training (``max_position_embeddings``).
        scaling: How frequencies are scaled for longer texts, as ``registry.config.rotary`` checks it; None for not.

    Returns:
        Cosines and sines, each ``(batch or 1, tokens, 1, width)``.
    """
    numbers = {"width": width, "theta": theta, "longest": longest, **(scaling or {})}
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    frequencies, magnitude = FREQUENCIES[scaling_kind(scaling)](exponents, positions, numbers)
    halves = positions.reshape(-1, positions.shape[-1], 1, 1).float() * frequencies
    both = torch.cat([halves, halves], dim=-1)
    return (both.cos() * magnitude).to(dtype), (both.sin() * magnitude).to(dtype)


def rotate(x: Tensor, at: Angles) -> Tensor:
    """Rotate the features of heads, each with the one half a width away.

    Args:
        x: ``(batch, tokens, heads, width)``.
        at: The angles; where they are of fewer features, the last ones of ``x`` stay as they are.

    Returns:
        The shape of ``x``.
    """
    cos, sin = at
    rotated, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = rotated.chunk(2, dim=-1)
    return torch.cat([rotated * cos + torch.cat([-second, first], dim=-1) * sin, rest], dim=-1)


# --- Frequencies ------------------------------------------------------------------------------------------------------
#
# Each takes exponents, (width / 2,), positions, and numbers by name; it returns the angle for each position of each
# pair of features, in radians, and a factor for cosines and sines.

Frequencies: TypeAlias = tuple[Tensor, float]


def _plain(exponents: Tensor, _positions: Tensor, numbers: Mapping[str, Any]) -> Frequencies:
    return 1.0 / numbers["theta"] ** exponents, 1.0


def _linear(exponents: Tensor, positions: Tensor, numbers: Mapping[str, Any]) -> Frequencies:
    """Position interpolation (Chen et al., 2023, section 2.3): as if tokens stood closer together."""
    frequencies, magnitude = _plain(exponents, positions, numbers)
    return frequencies / numbers["factor"], magnitude


def _dynamic(exponents: Tensor, positions: Tensor, numbers: Mapping[str, Any]) -> Frequencies:
    """Frequencies that sink with the length of a text beyond ``longest`` (Peng et al., 2023, appendix B.1).

    Up to there they are the plain ones.  Beyond, keys that were cached for a shorter text keep its frequencies.
    """
    factor, width, longest = numbers["factor"], numbers["width"], numbers["longest"]
    length = (positions.max() + 1).clamp(min=longest)
    theta = numbers["theta"] * (factor * length / longest - (factor - 1)) ** (width / (width - 2))
    return 1.0 / theta**exponents, 1.0


def _llama3(exponents: Tensor, positions: Tensor, numbers: Mapping[str, Any]) -> Frequencies:
    """Llama 3.1's: low frequencies are divided, high ones kept, and those between interpolated.

    A frequency is low with fewer than ``low_freq_factor`` periods in the context of the training, and high with more
    than ``high_freq_factor``.
    """
    frequencies, magnitude = _plain(exponents, positions, numbers)
    low, high = numbers["low_freq_factor"], numbers["high_freq_factor"]
    periods = numbers["original_max_position_embeddings"] * frequencies / (2 * pi)
    share = ((periods - low) / (high - low)).clamp(0, 1)
    return (1 - share) * frequencies / numbers["factor"] + share * frequencies, magnitude


def _yarn(exponents: Tensor, positions: Tensor, numbers: Mapping[str, Any]) -> Frequencies:
    """YaRN (Peng et al., 2023, section 3): the same idea, with the share linear in the number of the pair.

    Cosines and sines are scaled as well, so that attention becomes sharper (section 3.4).
    """
    frequencies, _ = _plain(exponents, positions, numbers)
    width, context = numbers["width"], numbers.get("original_max_position_embeddings") or numbers["longest"]

    def pair(periods: float) -> float:
        """The pair of features that has so many periods in the context of the training."""
        return float(width * log(context / (periods * 2 * pi)) / (2 * log(numbers["theta"])))

    first, last = pair(numbers.get("beta_fast") or 32), pair(numbers.get("beta_slow") or 1)
    if numbers.get("truncate", True):
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    pairs = torch.arange(len(exponents), dtype=torch.float32, device=exponents.device)
    share = 1 - ((pairs - first) / max(last - first, 0.001)).clamp(0, 1)
    return (1 - share) * frequencies / numbers["factor"] + share * frequencies, _magnitude(numbers)


def _magnitude(numbers: Mapping[str, Any]) -> float:
    """The factor of cosines and sines: ``attention_factor``, or what follows from ``factor``."""
    if numbers.get("attention_factor") is not None:
        return float(numbers["attention_factor"])

    def scaled(weight: float) -> float:
        return 1.0 if numbers["factor"] <= 1 else 0.1 * weight * log(numbers["factor"]) + 1.0

    mscale, every = numbers.get("mscale"), numbers.get("mscale_all_dim")
    return scaled(mscale) / scaled(every) if mscale and every else scaled(1.0)


FREQUENCIES: Mapping[str, Callable[[Tensor, Tensor, Mapping[str, Any]], Frequencies]] = {
    "default": _plain,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
}
"""The function of each kind of scaling, by its name in a configuration."""
