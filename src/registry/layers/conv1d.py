"""A linear layer in the layout of OpenAI's releases."""

import torch
from torch import Tensor, nn


class Conv1D(nn.Module):
    """``x @ weight + bias``, with a weight of shape ``(in, out)``, where ``nn.Linear`` has ``(out, in)``.

    OpenAI wrote it as a convolution over single tokens, hence the name, and drew new weights with a standard deviation
    of 0.02.  In this layout a single row is multiplied faster: the weight is read from its beginning to its end.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(in_features, out_features), std=0.02))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        weight = self.weight  # asking a module is slow
        return torch.addmm(self.bias, x.reshape(-1, weight.shape[0]), weight).view(*x.shape[:-1], weight.shape[1])

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` shows them."""
        return "in_features={}, out_features={}".format(*self.weight.shape)
