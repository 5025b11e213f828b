"""Numbers from blocks of small ones, as ggml packs them (ggml/src/ggml-quants.c).

Elements of a block share a scale in half precision.  Bytes are rows of ``(blocks, bytes)``; numbers are float32, the
same to the last bit as those of llama.cpp's package ``gguf``.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

AT_ONCE = 2**14
"""Blocks that are computed together: what they need next to the result stays in a processor's cache."""


def q8_0(blocks: Tensor) -> Tensor:
    """A scale, then 32 bytes with a sign."""
    return _half(blocks[:, :2]) * blocks[:, 2:].view(torch.int8).float()


def q4_0(blocks: Tensor) -> Tensor:
    """A scale, then 16 bytes: their low halves are the first 16 elements, their high ones the others; 8 means 0."""
    packed = blocks[:, 2:]
    return _half(blocks[:, :2]) * (torch.cat((packed & 15, packed >> 4), dim=1).float() - 8)


def q4_k(blocks: Tensor) -> Tensor:
    """Two scales, of steps and of offsets; 8 groups of 32 elements, with 6 bits of each for a group; 4 bits an element.

    The upper two bits of the numbers of the last four groups stand in the bytes of the first four.
    """
    steps, offsets, upper = blocks[:, 4:16].view(-1, 3, 4).unbind(1)
    step = torch.cat((steps & 63, upper & 15 | steps >> 2 & 48), dim=1).float()
    offset = torch.cat((offsets & 63, upper >> 4 | offsets >> 2 & 48), dim=1).float()
    packed = blocks[:, 16:].view(-1, 4, 1, 32)
    elements = torch.cat((packed & 15, packed >> 4), dim=2).view(-1, 8, 32).float()
    scaled = elements * (_half(blocks[:, :2]) * step)[:, :, None]
    return scaled - (_half(blocks[:, 2:4]) * offset)[:, :, None]


def q6_k(blocks: Tensor) -> Tensor:
    """Lower 4 bits of 256 elements, their upper 2 bits, a byte with a sign for each 16, and a scale; 32 means 0."""
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = torch.cat((low & 15, low >> 4), dim=2).view(-1, 8, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    high = torch.cat([high >> shift & 3 for shift in (0, 2, 4, 6)], dim=2).view(-1, 8, 32)
    scales = blocks[:, 192:208].contiguous().view(torch.int8).float()
    elements = ((low | high << 4).float() - 32).view(-1, 16, 16)
    return elements * (_half(blocks[:, 208:]) * scales)[:, :, None]


def _half(pairs: Tensor) -> Tensor:
    """The number in half precision in two bytes of each block: ``(blocks, 1)``."""
    return pairs.contiguous().view(torch.float16).float()


BLOCKS: Mapping[str, Callable[[Tensor], Tensor]] = {"q8_0": q8_0, "q4_0": q4_0, "q4_k": q4_k, "q6_k": q6_k}
"""Types, and what computes the elements of their blocks."""


def dequantized(kind: str, blocks: Tensor) -> Tensor:
    """The numbers of blocks of a type in ``BLOCKS``.

    Args:
        kind: The type.
        blocks: Bytes, ``(blocks, bytes)``.

    Returns:
        float32, in one axis.
    """
    starts = range(0, len(blocks), AT_ONCE)
    return torch.cat([BLOCKS[kind](blocks[start : start + AT_ONCE]).flatten() for start in starts])
