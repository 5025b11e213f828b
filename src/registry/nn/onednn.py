"""Faster products on a CPU, applied to the layers of a model from outside; a model imports nothing of this.

torch leaves products of float32 to MKL, which makes little use of processors by AMD.  oneDNN, which torch has as well
for tensors in a layout of its own, takes half the time there, and also half the time that a single row takes to read
the weight.  On processors by Intel it is MKL that is faster, but for a few rows, as in decoding: ``for_decoding`` packs
weights there as oneDNN wants them.  ``enable(model)`` lets oneDNN make the large products of
a model, as loading does for every model in float32 on a CPU where ``is_faster()``; ``disable(model)`` undoes it, and
``torch.backends.mkldnn.enabled = False`` leaves all to MKL.

An enabled layer has a ``forward`` among the attributes of the instance, where accelerate's hooks put theirs, too.  Its
class is still ``nn.Linear``, which is what quantizers, PEFT and others look for, and layers that are not enabled run
torch's own method.  The alternatives cost more: a ``TorchFunctionMode`` around ``forward`` is called for each of about
a thousand operations and attributes that a model reads (5 to 10 % of a small batch), and is gone when activations are
recomputed by gradient checkpointing; a subclass is not found by those tools; a hook runs for every layer of a process.
"""

import copy
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.nn.inputs import can_branch_on
from registry.nn.linear import Conv1D, FunctionalLinear

LARGE = 2**23
"""Multiplications from which on oneDNN pays off: handing rows over and taking the product back takes some 25 us."""
FEW = 16
"""Rows that take as long as a single one, since reading the weight takes longer than multiplying."""
MANY = 128
"""Rows from which on it pays off to transpose a weight for a single product."""
MANY_STEPS = 16
"""Steps of decoding from which on a transposed copy pays off: each step reads it in two thirds of the time."""
MOST_BYTES = 2**30
"""Memory for transposed copies at a time; further weights are used as they are."""

FASTER_ON = ("AuthenticAMD",)
"""Makers of processors on which oneDNN takes less time than MKL: half of it on EPYC; 5 % more on Intel's Xeon."""
PACKED_ON = ("GenuineIntel",)
"""Makers of processors on which weights are packed for decoding, in a layout of oneDNN's own.

In one thread of a Xeon with AMX, the products of a step of GPT-2, 124M, take 38 ms in place of 54 for one row of
bfloat16, half to two thirds as long for up to ``MANY`` rows, and 55 ms in place of 95 for eight rows of float32.
"""
PACKED_ROWS = {torch.bfloat16: range(1, MANY + 1), torch.float32: range(4, FEW + 1)}
"""Rows for which that pays off; a single row of float32 takes as long as its weight takes to be read."""
STEPS_OF_PACKING = {torch.bfloat16: 32, torch.float32: 48}
"""Steps from which on it pays off to pack a weight; in float32 for ``(in, out)`` alone, others are packed quickly."""

OUT_IN: set[Callable[..., Any]] = {nn.Linear.forward}
"""Methods ``forward`` that compute ``x @ weight.T + bias``.  Layers of a class that has another one are left alone."""
IN_OUT: set[Callable[..., Any]] = {Conv1D.forward}
"""Methods ``forward`` that compute ``x @ weight + bias``.  A plugin adds its own: ``IN_OUT.add(MyLayer.forward)``."""


# --- The switch -------------------------------------------------------------------------------------------------------


@cache
def is_faster() -> bool:
    """Whether oneDNN was measured to be faster than MKL on processors of this one's maker."""
    return _is_made_by(FASTER_ON)


@cache
def packing_is_faster() -> bool:
    """Whether packed weights were measured to be faster on processors of this one's maker."""
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and _is_made_by(PACKED_ON)


def _is_made_by(makers: Sequence[str]) -> bool:
    """Whether the processor is one of theirs."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            processor = file.read(4096).decode("ascii", "replace")
    except OSError:
        processor = platform.processor()
    return any(maker in processor for maker in makers)


def enable(model: nn.Module) -> None:
    """Let oneDNN make the large products of those layers whose weights are float32 on a CPU.

    Args:
        model: A model whose layers are of a kind in ``OUT_IN`` or ``IN_OUT``, or ``FunctionalLinear``.
    """
    for layer in model.modules():
        if "forward" in vars(layer):
            continue  # enabled already, or another library's
        if (forward := _enabled_forward(layer)) is not None:
            vars(layer)["forward"] = forward


def disable(model: nn.Module) -> None:
    """Undo ``enable``: all layers of the model run the method of their class again."""
    for layer in model.modules():
        if _is_ours(vars(layer).get("forward"), linear, _by_weight, _by_transposed_weight):
            del vars(layer)["forward"]


def disable_unsuitable(model: nn.Module) -> None:
    """Undo ``enable`` for layers that are no longer float32 on a CPU; ``Model`` calls it whenever it is moved."""
    for layer in model.modules():
        if _is_ours(vars(layer).get("forward"), _by_weight, _by_transposed_weight) and not _is_suitable(layer):
            del vars(layer)["forward"]


@contextmanager
def for_decoding(model: object, steps: int, rows: int = 1) -> Iterator[None]:
    """Let layers on a CPU multiply with copies of their weights, packed or transposed, which are faster for few rows.

    The copies stay as long as the context does: weights that change inside of it have no effect.

    Args:
        model: The model; one that is not a module is left alone.
        steps: Tokens that will be generated; below ``MANY_STEPS`` nothing is copied.
        rows: Sequences that are decoded together.
    """
    modules: Iterable[Any] = model.modules() if isinstance(model, nn.Module) and steps >= MANY_STEPS else ()
    pairs = [(layer, copied) for layer in modules if (copied := _with_copy(layer, steps, rows)) is not None]
    pairs.sort(key=lambda pair: -pair[0].weight.nbytes)  # the largest gain most: a vocabulary half of its time
    sums = accumulate(layer.weight.nbytes for layer, _ in pairs)
    pairs = [pair for pair, taken in zip(pairs, sums, strict=True) if taken <= MOST_BYTES]
    before = [vars(layer).get("forward") for layer, _ in pairs]
    try:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # torch copies a matrix in one thread
            for (layer, _), forward in zip(pairs, pool.map(lambda pair: pair[1](pair[0]), pairs), strict=True):
                vars(layer)["forward"] = forward
        yield
    finally:
        for (layer, _), forward in zip(pairs, before, strict=True):
            vars(layer).pop("forward", None)
            if _is_ours(forward, _by_weight, _by_transposed_weight):  # not the copy of another thread
                vars(layer)["forward"] = forward


# --- What a layer gets ------------------------------------------------------------------------------------------------


class LayerRef:
    """A weak reference to a layer, which becomes one to the copy where the layer is copied or pickled.

    A strong one would be a cycle, and keep the weights in memory until the next garbage collection.
    """

    __slots__ = ("get",)

    def __init__(self, layer: nn.Module) -> None:
        self.get: Callable[[], Any] = ref(layer)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LayerRef":
        return LayerRef(copy.deepcopy(self.get(), memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerRef, (self.get(),)


def _by_weight(reference: LayerRef, input: Tensor) -> Tensor:  # noqa: A002  # the name in nn.Linear.forward
    layer = reference.get()
    return linear(input, layer.weight, layer.bias)


def _by_transposed_weight(reference: LayerRef, x: Tensor) -> Tensor:
    layer = reference.get()
    weight = layer.weight
    if x.numel() < MANY * weight.shape[0] or not _is_for_onednn(x, weight.t()):
        return type(layer).forward(layer, x)
    return linear(x, weight.t(), layer.bias)


def _by_transposed_copy(reference: LayerRef, transposed: Tensor, x: Tensor) -> Tensor:
    return linear(x, transposed, reference.get().bias)


class PackedWeight:
    """A weight ``(out, in)`` in a layout of oneDNN's own; nothing changes it, so that copies of a model share it."""

    __slots__ = ("packed",)

    def __init__(self, weight: Tensor) -> None:
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, FEW)

    def __deepcopy__(self, memo: dict[int, Any]) -> "PackedWeight":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedWeight, (self.packed.to_dense(),)


def _by_packed_copy(reference: LayerRef, weight: PackedWeight, x: Tensor) -> Tensor:
    layer = reference.get()
    if not can_branch_on(x) or torch.is_autocast_enabled("cpu"):  # which have no products with this layout
        return type(layer).forward(layer, x)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight.packed, layer.bias, "none", [], "")
    return found


def _transposed_copy(layer: Any) -> Tensor:
    weight: Tensor = layer.weight.detach().t().contiguous()
    return weight


def _with_transposed_copy(layer: Any) -> Callable[[Tensor], Tensor]:
    return partial(_by_transposed_copy, LayerRef(layer), _transposed_copy(layer))


def _with_packed_copy(layer: Any) -> Callable[[Tensor], Tensor]:
    weight = layer.weight.detach()
    return partial(_by_packed_copy, LayerRef(layer), PackedWeight(weight.t() if _is_in_out(layer) else weight))


def _enabled_forward(layer: nn.Module) -> Callable[..., Tensor] | None:
    """The ``forward`` with which to enable a layer; None for a layer that is none of ours, or unsuitable."""
    if isinstance(layer, FunctionalLinear):
        return linear
    for methods, multiply in ((OUT_IN, _by_weight), (IN_OUT, _by_transposed_weight)):
        if type(layer).forward in methods and _is_suitable(layer):
            return partial(multiply, LayerRef(layer))
    return None


def _is_ours(forward: Any, *functions: Callable[..., Tensor]) -> bool:
    """Whether the ``forward`` of a layer is one of these, which this module makes."""
    return (forward.func if isinstance(forward, partial) else forward) in functions


def _is_suitable(layer: Any) -> bool:
    return _is_plain(layer.weight) and layer.weight.dtype == torch.float32


def _is_plain(weight: Any) -> bool:
    """Whether a weight is in the memory of a CPU: not quantized, sharded or without contents."""
    return type(weight) in (Tensor, nn.Parameter) and weight.device.type == "cpu"


def _with_copy(layer: Any, steps: int, rows: int) -> Callable[[Any], Callable[[Tensor], Tensor]] | None:
    """What makes the ``forward`` of a layer with a copy of its weight; None where none pays off, or can be made."""
    is_in_out = _is_in_out(layer)
    if not (is_in_out or type(layer).forward in OUT_IN) or not _is_plain(layer.weight):
        return None
    forward = vars(layer).get("forward")
    if not (forward is None or _is_ours(forward, _by_weight, _by_transposed_weight)):
        return None  # another library's, or another thread's
    dtype = layer.weight.dtype
    if packing_is_faster() and dtype in PACKED_ROWS:
        is_slow = (is_in_out or dtype != torch.float32) and steps < STEPS_OF_PACKING[dtype]
        return _with_packed_copy if rows in PACKED_ROWS[dtype] and not is_slow and _can_be_packed(dtype) else None
    gains = dtype != torch.float32 or is_faster()  # bfloat16 with torch's own products, float32 with those of oneDNN
    return _with_transposed_copy if is_in_out and gains else None


def _is_in_out(layer: Any) -> bool:
    return type(layer).forward in IN_OUT


def _can_be_packed(dtype: torch.dtype) -> bool:
    """Whether oneDNN makes products of this type here."""
    supports = dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(supports and _onednn_is_wanted())


# --- The product ------------------------------------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, but large products of float32 on a CPU are made by oneDNN.

    Args:
        x: Rows, ``(..., in)``.
        weight: ``(out, in)``.
        bias: ``(out,)``.

    Returns:
        ``x @ weight.T + bias``, ``(..., out)``.
    """
    if not _is_for_onednn(x, weight):
        return F.linear(x, weight, bias)
    multiply = _by_onednn if torch.is_inference_mode_enabled() else _Product.apply
    return multiply(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.to_mkldnn(), weight, bias).to_dense()


class _Product(torch.autograd.Function):
    """The product by oneDNN, with what torch lacks for it: ``vmap``, and derivatives but the first.

    Of the first, torch's own would keep a copy of ``x``.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _by_onednn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:  # noqa: ARG004  # the signature is torch's
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            rows = grad.flatten(0, -2)
            found = grad @ weight, rows.t() @ x.flatten(0, -2), rows.sum(0)
        else:
            x, grad = x.to_mkldnn(), grad.to_mkldnn()
            found = torch.ops.aten.mkldnn_linear_backward(x, grad, weight, ctx.needs_input_grad)
        wanted = zip(found, ctx.needs_input_grad, strict=True)
        return tuple(one.to_dense() if needed else None for one, needed in wanted)

    @staticmethod
    def jvp(ctx: Any, x_change: Tensor, weight_change: Tensor | None, bias_change: Tensor | None) -> Tensor:
        x, weight = ctx.saved_tensors
        found = bias_change
        if x_change is not None:
            found = F.linear(x_change, weight, found)
        if weight_change is not None:
            product = F.linear(x, weight_change)
            found = product if found is None else found + product
        return found

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:  # noqa: ARG004  # the signature is torch's
        return torch.vmap(F.linear, in_dims)(*inputs), 0


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can make a product, and makes it faster."""
    if not can_branch_on(x) or not x.dtype == weight.dtype == torch.float32:
        return False
    if type(x) is not Tensor or type(weight) not in (Tensor, nn.Parameter):  # quantized, sharded, without contents
        return False
    if x.dim() < 2 or x.shape[-1] != weight.shape[-1] or not x.numel():
        return False
    if max(prod(x.shape[:-1]), FEW) * weight.numel() < LARGE:
        return False
    return _onednn_is_wanted() and not torch.is_autocast_enabled("cpu")


def _onednn_is_wanted() -> bool:
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available() and onednn.enabled)
