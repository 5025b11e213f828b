"""Activation functions, by their names in published configurations."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

Activation: TypeAlias = Callable[[Tensor], Tensor]
"""An elementwise function of a tensor of any shape."""

_tanh_gelu: Activation = partial(F.gelu, approximate="tanh")

ACTIVATION_FUNCTIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": F.gelu,  # exact: x times the normal distribution up to x (Hendrycks & Gimpel, 2016)
        "gelu_new": _tanh_gelu,  # the approximation in OpenAI's releases
        "gelu_pytorch_tanh": _tanh_gelu,
        "relu": F.relu,
        "silu": F.silu,
        "swish": F.silu,
        "tanh": torch.tanh,
    }
)
"""Name -> function, for every name in ``registry.config.fields.ACTIVATIONS``."""
