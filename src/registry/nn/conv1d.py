"""A linear layer in the layout of OpenAI's releases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn

from registry.nn.onednn import linear
from registry.nn.packing import can_branch_on

MANY = 128
"""Rows from which on it pays to turn the weight round for a single product: ``linear`` multiplies so much faster."""
MANY_TIMES = 16
"""Products with few rows from which on it pays to keep it turned: each reads it in two thirds of the time."""
MOST_BYTES = 2**30
"""Memory for turned weights at a time; further ones stay as they lie."""


class Conv1D(nn.Module):
    """``x @ weight + bias``, with a weight of shape ``(in, out)``, where ``nn.Linear`` has ``(out, in)``.

    OpenAI wrote it as a convolution over single tokens, hence the name, and drew new weights with a standard deviation
    of 0.02.
    """

    _turned: Tensor | None = None
    """A copy of the weight, ``(out, in)``, while ``turned`` says so."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(in_features, out_features), std=0.02))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        if self._turned is not None:
            return linear(x, self._turned, self.bias)
        weight = self.weight  # asking a module is slow
        rows = x.reshape(-1, weight.shape[0])
        if can_branch_on(rows) and len(rows) >= MANY:
            found = linear(rows, weight.t(), self.bias)
        else:
            found = torch.addmm(self.bias, rows, weight)
        return found.view(*x.shape[:-1], weight.shape[1])

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` shows them."""
        return "in_features={}, out_features={}".format(*self.weight.shape)


@contextmanager
def turned(model: object, times: int) -> Iterator[None]:
    """Let layers of a model on a CPU, which will be asked so many times, multiply by copies that lie as is faster.

    They stay as long as the context does: weights that are changed inside of it are not seen.
    """
    modules = model.modules() if isinstance(model, nn.Module) and times >= MANY_TIMES else ()
    layers = [layer for layer in modules if isinstance(layer, Conv1D) and layer.weight.device.type == "cpu"]
    sums = accumulate(layer.weight.nbytes for layer in layers)
    layers = [layer for layer, taken in zip(layers, sums, strict=True) if taken <= MOST_BYTES]
    try:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # torch turns a matrix in one thread
            for layer, copy in zip(layers, pool.map(_turned_copy, layers), strict=True):
                layer._turned = copy
        yield
    finally:
        for layer in layers:
            layer._turned = None


def _turned_copy(layer: Conv1D) -> Tensor:
    return layer.weight.detach().t().contiguous()
