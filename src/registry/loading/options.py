"""Options of filling a model with weights."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from attrs import field, frozen

from registry.loading.placement import device_of, dtype_of
from registry.weights.matching import Patterns

if TYPE_CHECKING:
    import torch


def _tuple(patterns: Patterns) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


@frozen(kw_only=True)
class LoadOptions:
    """How weights go into a model, as opposed to what is loaded and where it comes from."""

    dtype: "torch.dtype | None" = field(default=None, converter=dtype_of)
    """Type of the parameters; None for that of a constructed model, float32 by default."""
    device: "torch.device | None" = field(default=None, converter=device_of)
    """Device of the parameters; None for the CPU."""
    allow_missing: tuple[str, ...] = field(default=(), converter=_tuple)
    """Patterns (``*`` and ``?``) of parameters which the file may lack; they are newly initialized."""
    allow_unexpected: tuple[str, ...] = field(default=(), converter=_tuple)
    """Patterns of names in the file which the model may lack; they are dropped."""
    formats: Collection[str] | None = None
    """The only formats of weights to look for; None for all."""
    allow_new: bool = True
    """Whether whole parts may be missing in the file: only where the caller chose the class, not the checkpoint."""
