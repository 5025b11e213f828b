"""Gradient checkpointing: what layers compute is computed again in the backward pass, not kept (Chen et al., 2016).

It is applied from outside, like ``onednn``: an enabled layer has a ``forward`` among the attributes of the instance,
and others run the method of their class.  Numbers and gradients stay the same, bit by bit.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from registry.errors import InputError
from registry.nn.onednn import LayerRef


class WithCheckpointing(nn.Module):
    """A model whose layers can be computed again in the backward pass."""

    block_classes: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Classes of these layers."""

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Have the layers computed again in the backward pass: far less memory for a third more time.

        Args:
            gradient_checkpointing_kwargs: Keywords of ``torch.utils.checkpoint.checkpoint``; ``use_reentrant`` is false
                unless given.

        Raises:
            InputError: The model does not declare its layers.
        """
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs)

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The same by the name and with the arguments of transformers 5, whose Trainer calls it.

        Args:
            activation_checkpointing_kwargs: Keywords of ``torch.utils.checkpoint.checkpoint``.
            every_n_layers: Only every so many layers are computed again.
            offload: Keep the inputs of these layers in the memory of the CPU.

        Raises:
            InputError: The model does not declare its layers.
        """
        if not (blocks := self._blocks()):
            raise InputError(
                f"{type(self).__name__} does not declare which layers gradient checkpointing computes again.",
                hint="Its class names them: block_classes = (MyLayer,).",
            )
        disable(blocks)
        enable(blocks[::every_n_layers], {**(activation_checkpointing_kwargs or {}), "offload": offload})

    def gradient_checkpointing_disable(self) -> None:
        """Undo ``gradient_checkpointing_enable``."""
        disable(self._blocks())

    activation_checkpointing_disable = gradient_checkpointing_disable
    """The same by the name of transformers 5."""

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers are computed again in the backward pass."""
        return any(map(is_enabled, self._blocks()))

    def _blocks(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, self.block_classes)]


def enable(layers: Iterable[nn.Module], options: Mapping[str, Any]) -> None:
    """Have layers computed again wherever gradients are wanted.

    Args:
        layers: The layers.
        options: Keywords of ``torch.utils.checkpoint.checkpoint``, and ``offload``: whether the inputs of the layers
            are kept in the memory of the CPU.
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
    options = dict(options)
    with save_on_cpu() if options.pop("offload", False) else nullcontext():
        return checkpoint(partial(forward, **keywords), *inputs, **options)
