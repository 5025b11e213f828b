"""What a file says of its tensors before one of them is read."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from torch import Tensor


@frozen
class Header:
    """Shape and dtype of a tensor; needs no torch."""

    shape: tuple[int, ...]
    dtype: str
    """The name that torch has for it, ``float32``; or the format's own, where it packs several numbers together."""
    nbytes: int
    """Bytes of all its elements."""
    memory: Hashable = field(default=None, eq=False, repr=False)
    """Where its bytes begin, alike for tied tensors; None for bytes that are no other tensor's."""


Headers: TypeAlias = Mapping[str, Header]
"""Headers by the name of the tensor in the file."""


def header_of(tensor: "Tensor") -> Header:
    """The header of a tensor in memory."""
    return Header(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.numel() * tensor.itemsize)
