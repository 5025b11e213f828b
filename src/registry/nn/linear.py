"""Linear layers which torch lacks."""

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.namespace import reference_to, revive

# --- The class for those who ask --------------------------------------------------------------------------------------

_SEEN: dict[type, type] = {}
"""Class of a layer -> the class that it has for other libraries."""


def _seen_as(cls: type) -> type:
    """The class that a layer of class ``cls`` has for other libraries: itself, and ``Conv1D`` of transformers.

    Nothing is imported: who looks for the class of transformers has imported it.
    """
    theirs = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    if theirs is None or issubclass(cls, theirs):
        return cls
    if cls not in _SEEN:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        _SEEN[cls] = type(cls.__name__, (cls, theirs), {**names, "__repr__": nn.Module.__repr__})
    return _SEEN[cls]


class _KnownToOthers:
    """Makes layers instances of transformers' ``Conv1D`` as well, the class for which PEFT and quantizers look.

    ``isinstance`` asks ``__class__``, which a class may answer as it likes; ``type(layer)`` stays the class that is
    written here, and transformers need not be installed.
    """

    @property
    def __class__(self) -> Any:
        return _seen_as(type(self))

    @__class__.setter
    def __class__(self, cls: type) -> None:  # FSDP and parametrizations set it, and set it back
        own = next((own for own, seen in _SEEN.items() if seen is cls), cls)
        vars(object)["__class__"].__set__(self, own)

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (reference_to(type(self)),), self.__getstate__()


class Conv1D(_KnownToOthers, nn.Module):
    """``x @ weight + bias``, with a weight of shape ``(in, out)``, where ``nn.Linear`` has ``(out, in)``.

    OpenAI wrote it as a convolution over single tokens, hence the name, and initialized weights with a standard
    deviation of 0.02 (openai/gpt-2, src/model.py).  Where transformers is imported, ``isinstance`` says that it is a
    ``transformers.pytorch_utils.Conv1D``, too: PEFT and quantizers treat it as they treat that one.

    Args:
        in_features: Features of each input.
        out_features: Features of each output.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(in_features, out_features), std=0.02))
        self.bias = nn.Parameter(torch.zeros(out_features))

    @property
    def nx(self) -> int:
        """Features of each input, as transformers names their number."""
        return self.weight.shape[0]

    @property
    def nf(self) -> int:
        """Features of each output, as transformers names their number."""
        return self.weight.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., in)`` to ``(..., out)``."""
        weight, bias = self.weight, self.bias
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # The older exporter of ONNX would take the shape of the view below for a constant.
            return x @ weight if bias is None else x @ weight + bias
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
