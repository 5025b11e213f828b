"""Hooks of modules, by which tools look at what is computed: probing, attribution, gradients of each text."""

from torch import nn


def carries_hook(*modules: nn.Module) -> bool:
    """Whether one of the modules, or one inside of them, carries a hook of its forward or backward pass.

    A hook that is registered for all modules of the process counts, too.
    """
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return True
    inside = list(modules)
    for one in inside:  # which grows; ``modules()`` takes three times as long
        if one._forward_hooks or one._forward_pre_hooks or one._backward_hooks or one._backward_pre_hooks:
            return True
        if one._modules:
            inside += [module for module in one._modules.values() if module is not None]
    return False
