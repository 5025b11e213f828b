"""``as_linear``: the same model with ``nn.Linear`` in place of ``Conv1D``, for tools that look for nothing else.

Quantizers (torchao, ``quantize_dynamic``) and others choose layers by the class ``nn.Linear``, and ignore a ``Conv1D``
without a word.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from registry.nn import onednn
from registry.nn.linear import Conv1D

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def as_linear(model: ModuleT) -> ModuleT:
    """Replace each ``Conv1D`` of a model by an ``nn.Linear`` with its numbers, in place.

    The state dict stays the published one, with weights ``(in, out)``: such a model is saved and loaded as before.

    Args:
        model: Any module; one without such layers is left as it is.

    Returns:
        The same model.
    """
    found = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, Conv1D)
    ]
    for parent, name, layer in found:
        setattr(parent, name, _linear(layer))
    return model


def _linear(layer: Conv1D) -> nn.Linear:
    size_in, size_out = layer.weight.shape
    made = nn.Linear(size_in, size_out, bias=layer.bias is not None, device="meta")
    weight = layer.weight.detach().t().contiguous()
    made.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    made.bias = layer.bias
    made.register_state_dict_post_hook(_transpose_saved)  # type: ignore[no-untyped-call]  # torch's
    made.register_load_state_dict_pre_hook(_transpose_loaded)  # type: ignore[no-untyped-call]
    if "forward" in vars(layer):  # the products of the layer were made by oneDNN
        onednn.enable(made)
    return made.train(layer.training)


def _transpose_saved(_layer: nn.Module, state_dict: dict[str, Any], prefix: str, _metadata: Mapping[str, Any]) -> None:
    _transpose(state_dict, prefix)


def _transpose_loaded(_layer: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    _transpose(state_dict, prefix)


def _transpose(state_dict: dict[str, Any], prefix: str) -> None:
    """Transpose the weight; one that was quantized stays as its library has it."""
    weight: Any = state_dict.get(f"{prefix}weight")
    if type(weight) in (Tensor, nn.Parameter):
        state_dict[f"{prefix}weight"] = weight.t()
