"""Gradient checkpointing: what layers compute is computed again in the backward pass, not kept (Chen et al., 2016).

It is applied from outside, like ``onednn``: an enabled layer has a ``forward`` among the attributes of the instance,
and others run the method of their class.  Numbers and gradients stay the same, bit by bit.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from registry.nn.onednn import LayerRef


def enable(layers: Iterable[nn.Module], options: Mapping[str, Any]) -> None:
    """Have layers computed again wherever gradients are wanted.

    Args:
        layers: The layers.
        options: Keywords of ``torch.utils.checkpoint.checkpoint``.
    """
    for layer in layers:
        before = _without(vars(layer).get("forward"))
        vars(layer)["forward"] = partial(_checkpointed, LayerRef(layer), before, {"use_reentrant": False, **options})


def disable(layers: Iterable[nn.Module]) -> None:
    """Undo ``enable``."""
    for layer in layers:
        if is_enabled(layer):
            before = _without(vars(layer).pop("forward"))
            if before is not None:
                vars(layer)["forward"] = before


def is_enabled(layer: nn.Module) -> bool:
    """Whether a layer is computed again."""
    return _is_ours(vars(layer).get("forward"))


def _is_ours(forward: Any) -> bool:
    return isinstance(forward, partial) and forward.func is _checkpointed


def _without(forward: Any) -> Any:
    """What a layer had as ``forward`` before it was enabled; None for nothing."""
    return forward.args[1] if _is_ours(forward) else forward


def _checkpointed(
    reference: LayerRef, before: Callable[..., Any] | None, options: dict[str, Any], *inputs: Any, **keywords: Any
) -> Any:
    layer = reference.get()
    forward = partial(type(layer).forward, layer) if before is None else before
    if not torch.is_grad_enabled():
        return forward(*inputs, **keywords)
    return checkpoint(partial(forward, **keywords), *inputs, **options)
