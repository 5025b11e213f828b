"""Which tensors can be written: those that have memory of their own, with one value for each element."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from registry.errors import SaveError

PLAIN = (Tensor, nn.Parameter, nn.Buffer)
"""Classes of tensors that are just their memory."""

GATHER = (
    "Gather it first: torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True)), and give the result as state_dict= to the model's class."
)
DEQUANTIZE = "Save the model before it is quantized, and quantize it again after loading."


@frozen
class _Kind:
    """A kind of tensors that are not written."""

    has: Callable[[Any], bool]
    """Whether a value is of this kind."""
    what: str
    """What it is, as text; ``{type}`` is the name of its class."""
    remedy: str


def _of_class(module: str, *names: str) -> Callable[[Any], bool]:
    """Whether a class of torch, which need not be imported for that, is among the bases."""
    return lambda value: any(
        base.__name__ in names and base.__module__.startswith(module) for base in type(value).__mro__
    )


def _dispatches(value: Any) -> bool:
    """Whether operations on the tensor are the class's own, so that its memory is elsewhere, if anywhere."""
    return type(value) not in PLAIN and getattr(type(value), "__torch_dispatch__", None) not in _NO_DISPATCH


_NO_DISPATCH = (None, Tensor.__torch_dispatch__)


def _is_hollow(tensor: Tensor) -> bool:
    """Whether a tensor with elements has no memory, or fewer bytes than they take."""
    try:
        return tensor.nbytes > 0 and (tensor.data_ptr() == 0 or tensor.untyped_storage().nbytes() < tensor.itemsize)
    except RuntimeError:  # torch gives no pointer to the data of tensors that wrap others
        return True


_KINDS = (
    _Kind(lambda value: not isinstance(value, Tensor), "a {type}, not a tensor", DEQUANTIZE),
    _Kind(
        _of_class("torch.nn.parameter", "UninitializedTensorMixin"),
        "not initialized: its shape is not known yet",
        "Run the model once, so that its lazy layers get their shapes.",
    ),
    _Kind(
        _of_class("torch.distributed", "DTensor", "ShardedTensor"),
        "a {type}, of which this process holds a part",
        GATHER,
    ),
    _Kind(
        _of_class("torch._subclasses", "FakeTensor"),
        "a {type}, which has a shape and no values",
        "Build and load the model outside of FakeTensorMode.",
    ),
    _Kind(
        _of_class("torch.masked", "MaskedTensor"),
        "a {type}, some of whose elements have no value",
        "Replace it by tensor.to_tensor(value), with the value that masked elements get.",
    ),
    _Kind(
        lambda value: value.is_nested,
        "nested: its rows have lengths of their own",
        "Make it one tensor first: torch.nested.to_padded_tensor(tensor, 0.0).",
    ),
    _Kind(
        lambda value: value.is_meta,
        "on the meta device, which has no values",
        "Load the model on a device: registry.load(name), or model.to_empty(device=...) and model.init_weights(). A "
        "model whose weights are offloaded has to be brought back first.",
    ),
    _Kind(lambda value: value.is_quantized, "quantized ({dtype})", DEQUANTIZE),
    _Kind(
        lambda value: value.layout != torch.strided,
        "sparse ({layout})",
        "Make it dense first: parameter.data = parameter.data.to_dense().",
    ),
    _Kind(_dispatches, "a {type}, whose values are in other tensors", DEQUANTIZE),
    _Kind(
        _is_hollow,
        "a tensor without memory",
        "Where FSDP or another library keeps the values elsewhere, gather them first.",
    ),
)

_OPAQUE = _Kind(lambda _value: True, "a {type}, which torch cannot look into", DEQUANTIZE)
"""Tensors of classes whose operations raise errors, even of what they are."""


def _kind_of(value: Any) -> _Kind | None:
    """The first kind that a value is of; None for a tensor that can be written."""
    try:
        return next((kind for kind in _KINDS if kind.has(value)), None)
    except Exception:  # noqa: BLE001  # the operations of a class of tensors are any code
        return _OPAQUE


def check_writable(tensors: Mapping[str, Any]) -> None:
    """Check that each of these can be written, before anything is.

    Raises:
        SaveError: Some cannot; the first of each kind is named, with what to do.
    """
    found: dict[_Kind, list[str]] = {}
    for name, value in tensors.items():
        kind = _kind_of(value)
        if kind is not None:
            found.setdefault(kind, []).append(name)
    if found:
        faults = [_fault(kind, names, tensors[names[0]]) for kind, names in found.items()]
        raise SaveError(
            f"Nothing was saved: {'; '.join(faults)}.", hint=" ".join(dict.fromkeys(kind.remedy for kind in found))
        )


def _fault(kind: _Kind, names: list[str], value: Any) -> str:
    """The sentence about the first tensor of a kind, and the number of the others."""
    about = {} if kind is _OPAQUE else {name: getattr(value, name, "") for name in ("dtype", "layout")}
    what = kind.what.format(type=type(value).__name__, **about)
    others = f" (and {len(names) - 1} others like it)" if len(names) > 1 else ""
    return f"{names[0]!r} is {what}{others}"
