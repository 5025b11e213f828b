"""Activation functions, by their names in published configurations."""

from collections.abc import Callable, Mapping
from functools import partial
from math import sqrt
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

Activation: TypeAlias = Callable[[Tensor], Tensor]
"""An elementwise function of a tensor of any shape."""

_tanh_gelu: Activation = partial(F.gelu, approximate="tanh")


def _clipped_gelu(x: Tensor) -> Tensor:
    return F.gelu(x).clip(-10, 10)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _laplace(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * sqrt(2))))  # Ma et al., 2022, MEGA


def _squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _linear(x: Tensor) -> Tensor:
    return x


ACTIVATION_FUNCTIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": F.gelu,  # exact: x times the normal distribution up to x (Hendrycks & Gimpel, 2016)
        "gelu_10": _clipped_gelu,
        "gelu_accurate": _tanh_gelu,
        "gelu_fast": _tanh_gelu,
        "gelu_new": _tanh_gelu,  # the approximation in OpenAI's releases
        "gelu_python": F.gelu,
        "gelu_python_tanh": _tanh_gelu,
        "gelu_pytorch_tanh": _tanh_gelu,
        "laplace": _laplace,
        "leaky_relu": F.leaky_relu,
        "linear": _linear,
        "mish": F.mish,
        "quick_gelu": _quick_gelu,
        "relu": F.relu,
        "relu2": _squared_relu,
        "relu6": F.relu6,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "swish": F.silu,
        "tanh": torch.tanh,
    }
)
"""Name -> function, for every name in ``registry.config.fields.ACTIVATIONS``."""
