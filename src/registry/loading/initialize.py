"""Values for the parameters that no file holds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import nan

import torch
from torch import Tensor, nn

from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.meta import SkipInit
from registry.loading.slots import Slot, Values, type_of
from registry.weights.matching import Pair


def newly_initialized(
    pairs: Iterable[Pair], slots: Mapping[str, Slot], init_module: Callable[[nn.Module], None]
) -> Values:
    """Initial values of parameters, next to the model, which is not changed.

    Args:
        pairs: The tensors to initialize.
        slots: Where the model keeps its tensors.
        init_module: Fills the parameters that a module itself owns.

    Raises:
        WeightsMismatchError: ``init_module`` leaves a parameter without values.
    """
    values: Values = []
    swapped: dict[nn.Module, dict[str, Tensor]] = defaultdict(dict)
    for pair in pairs:
        value = _blank(slots[pair.names[0]])
        values.append((pair, value))
        for slot in map(slots.__getitem__, pair.ours.values()):
            if isinstance(slot.tensor, nn.Parameter):
                swapped[slot.module][slot.key] = value
    for module, parameters in swapped.items():
        with _swapped_parameters(module, parameters), SkipInit(), torch.no_grad():
            init_module(module)
    left = [pair.names[0] for pair, value in values if value.is_floating_point() and value.isnan().any()]
    if left:
        raise WeightsMismatchError(
            f"The file has no values for {first_of(left)}, and the model's initialization gave them none either.",
            hint="The model's init_module(module) must fill every parameter that the module itself owns.",
        )
    return values


def _blank(slot: Slot) -> Tensor:
    """The constructor's values; where it computed none, NaN, which shows when a parameter is left so."""
    tensor = slot.tensor
    if tensor.is_meta:
        nothing = nan if tensor.is_floating_point() else 0
        return nn.Parameter(torch.full(slot.shape, nothing, dtype=type_of(tensor)), requires_grad=False)
    return nn.Parameter(tensor.detach().clone(), requires_grad=False)


@contextmanager
def _swapped_parameters(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Swap the parameters of a module for ``tensors`` for a while; the others have no memory meanwhile."""
    own = module._parameters
    vars(module)["_parameters"] = {key: tensors.get(key, _without_memory(tensor)) for key, tensor in own.items()}
    try:
        yield
    finally:
        vars(module)["_parameters"] = own


def _without_memory(parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None:
        return None
    return nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device="meta"), requires_grad=False)
