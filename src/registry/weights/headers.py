"""What a file says of its tensors, before one of them is read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from torch import Tensor


@frozen
class Header:
    """What a tensor looks like."""

    shape: tuple[int, ...]
    dtype: str
    """The type of its numbers, by torch's word: ``float32``."""
    nbytes: int
    """Bytes of its numbers."""


Headers: TypeAlias = Mapping[str, Header]
"""By the name of the tensor, as the file has it."""


def header_of(tensor: "Tensor") -> Header:
    """What a tensor in memory looks like."""
    return Header(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.numel() * tensor.itemsize)
