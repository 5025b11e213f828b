"""Models without memory: constructed in milliseconds, for parameters that a file provides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, empty, nn
from torch.overrides import TorchFunctionMode

from registry.errors import WeightsLimitError

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_FILLING = frozenset(
    [nn.init.uniform_, nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_]
    + [getattr(Tensor, name) for name in ("uniform_", "normal_", "fill_", "zero_", "copy_", "bernoulli_", "random_")]
    + [getattr(Tensor, name) for name in ("exponential_", "cauchy_", "log_normal_", "geometric_", "erfinv_")]
    + [getattr(Tensor, name) for name in ("add_", "sub_", "mul_", "div_", "clamp_")]
)


class SkipInit(TorchFunctionMode):
    """Leave tensors on the meta device as they are: they have no memory to fill.

    Torch would come to the same result through its reference implementations, whose import (torch._dynamo) takes
    seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING:
            target: Tensor = args[0] if args else kwargs["tensor"]
            if target.is_meta:
                return target
        return func(*args, **kwargs)


class MetaInit(SkipInit):
    """In addition, make empty tensors on the meta device; tensors that are computed from numbers stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return super().__torch_function__(func, types, args, kwargs)


def build(make: Callable[[], ModuleT]) -> ModuleT:
    """A model without memory for its parameters; ``fill`` gives them their values.

    Takes milliseconds for any size.  What ``torch.empty`` makes, where the layers of torch get their parameters, has no
    memory.  Constants (``torch.ones``, ``torch.arange``) are real, so that what a constructor computes is right.

    Args:
        make: Constructs the model.
    """
    with MetaInit():
        return make()


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise WeightsLimitError in place of the errors of Python, torch and the system when memory is exhausted."""
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        if not isinstance(problem, MemoryError) and "allocate memory" not in str(problem):
            raise
        raise WeightsLimitError(
            "There is not enough memory for the weights; no model was made.",
            hint="A smaller dtype= takes less, and weights that keep the type of their file are not copied at all.",
        ) from problem
