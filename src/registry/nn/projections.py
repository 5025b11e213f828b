"""Projections of tokens as heads of attention, by the width of a head.

A layer takes the number of its heads from the tensors that arrive, never from the configuration: a layer that is
divided among processes (tensor parallelism) or was pruned has fewer heads, and their width is the same.
"""

import torch
from torch import Tensor, nn

from registry.errors import InputError, UnsupportedError


def separate(projected: Tensor, width: int, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a projection that makes all three, side by side, of as many heads each.

    Where heads of queries share keys and values, ``projected.unflatten(-1, (-1, width)).split(heads, -2)`` has no such
    check; ``registry.weights.names.parted`` makes three layers of the one in files, which processes can divide.

    Args:
        projected: ``(..., 3 * heads * width)``.
        width: Features of a head.
        layer: The layer that made it.

    Returns:
        Three times ``(..., heads, width)``.

    Raises:
        UnsupportedError: The layer is divided among processes across the three: the first of two would hold all
            queries and half of the keys.
    """
    refuse_divided(layer, projected)
    query, key, value = projected.unflatten(-1, (3, -1, width)).unbind(-3)  # type: ignore[no-untyped-call]
    return query, key, value


def refuse_divided(layer: nn.Module, projected: Tensor) -> None:
    """Raise UnsupportedError where a process has a part of what a layer projects, cut across queries, keys and values.

    Args:
        layer: The layer, which makes all three side by side.
        projected: What it made.

    Raises:
        UnsupportedError: Its weight is a DTensor, and the features are fewer than those of the whole.
    """
    whole = getattr(layer, "out_features", None)
    if projected.shape[-1] != whole and hasattr(getattr(layer, "weight", None), "placements"):  # of a DTensor
        raise UnsupportedError(
            f"A {type(layer).__name__} makes queries, keys and values side by side, and this process has "
            f"{projected.shape[-1]} of its {whole} features: a cut across the three, which gives wrong numbers.",
            hint="Divide queries, keys and values each for itself, so that a process has the same heads of all three.",
        )


def check_heads(query: Tensor, key: Tensor, value: Tensor, share: int = 1) -> None:
    """Raise InputError unless queries, keys and values, ``(..., heads, width)``, are of the same heads.

    Otherwise only some of the projections are divided among processes, or pruned, and others would be taken for shared.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        share: Neighboring heads of queries that share one of keys and values.

    Raises:
        InputError: They are not of the same heads.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # sizes are tensors then
        return
    if not query.shape[-2] == key.shape[-2] * share == value.shape[-2] * share:
        heads = [x.shape[-2] for x in (query, key, value)]
        raise InputError(
            f"The projections of one layer give {heads[0]} heads of queries, {heads[1]} of keys and {heads[2]} of "
            f"values, where {share} of queries must share one of each: are only some of them divided among processes?"
        )
