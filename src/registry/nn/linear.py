"""Linear layers which torch lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it


class Conv1D(nn.Module):
    """``x @ weight + bias``, with a weight of shape ``(in, out)``, where ``nn.Linear`` has ``(out, in)``.

    OpenAI wrote it as a convolution over single tokens, hence the name, and initialized weights with a standard
    deviation of 0.02 (openai/gpt-2, src/model.py).

    Args:
        in_features: Features of each input.
        out_features: Features of each output.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(in_features, out_features), std=0.02))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        weight, bias = self.weight, self.bias
        rows = x.reshape(-1, weight.shape[0])
        product = rows @ weight if bias is None else torch.addmm(bias, rows, weight)
        return product.view(*x.shape[:-1], weight.shape[1])

    def extra_repr(self) -> str:
        """The sizes, as ``nn.Linear`` shows them."""
        return "in_features={}, out_features={}".format(*self.weight.shape)


class FunctionalLinear(nn.Module):
    """``F.linear`` as a module without parameters: the product with a weight that another module owns, or a part of it.

    A model makes such products through it, so that whatever speeds up linear layers from outside speeds them up too.
    """

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Project ``x``, ``(..., in)``, with a weight ``(out, in)`` and a bias ``(out,)`` to ``(..., out)``."""
        return F.linear(x, weight, bias)
