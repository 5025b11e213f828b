"""A model without memory is divided: its parameters become DTensors, which loading then gives this process's share.

First by tensor parallelism, as the plan's rules say, and then by sharding (FSDP2), block by block.  Nothing is
exchanged meanwhile, and nothing has memory yet.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from inspect import ismethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.utils import _pytree as pytree

from registry.errors import ParallelError
from registry.nn.packing import set_packing
from registry.sharding.agreement import random_state
from registry.sharding.assignment import Assignment, assignments, blocks_of, plan_of, sharding_axis
from registry.sharding.layers import become_divided
from registry.sharding.meshes import ProcessMesh
from registry.sharding.shares import FUSED, parameter_like, portion

if TYPE_CHECKING:
    from registry.sharding.plans import PlanRule

METHODS = ("score", "score_best", "encode")
"""Methods that compute without ``forward``, in generation or for vectors of texts, and need the parameters of the model
complete."""


def divide(model: nn.Module, processes: ProcessMesh) -> None:
    """Divide a model, whose parameters must not have values yet.

    Args:
        model: A model of a class with a ``parallel_plan``.
        processes: Those that divide it.

    Raises:
        ParallelError: There is no plan, or it does not fit the model or the number of processes.
    """
    plan_of(model)
    _drop_values(model)
    if processes.tensor is not None:
        _divide_layers(model, processes.tensor)
        model.register_forward_pre_hook(_RandomNumbers(processes.tensor))
    blocks = blocks_of(model)
    if processes.sharded is not None:
        _shard(model, blocks, processes.sharded)
    for block in blocks:
        block.register_forward_pre_hook(_OwnParameters(block), prepend=True)


class _OwnParameters:
    """A hook: parameters that are added to a divided block, as PEFT adds them, cannot be trained.

    Nothing would add up their gradients, and each process would train its own silently.
    """

    def __init__(self, block: nn.Module) -> None:
        self._names = {name for name, _ in block.named_parameters()}

    def __call__(self, block: nn.Module, _inputs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        added = [name for name, one in block.named_parameters() if one.requires_grad and name not in self._names]
        if added:
            raise ParallelError(
                f"{added[0]!r} was added to a model that processes share, where its gradients would not be exchanged.",
                hint="Train adapters on a model that is complete in each process; a directory of PEFT can be loaded "
                "divided.",
            )


# --- Tensor parallelism -----------------------------------------------------------------------------------------------


def _drop_values(model: nn.Module) -> None:
    """Move all parameters to the meta device; what is shared stays so."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None and not parameter.is_meta:
                if id(parameter) not in made:
                    empty = torch.empty_like(parameter, device="meta", requires_grad=False)
                    made[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
                module._parameters[key] = made[id(parameter)]


def _divide_layers(model: Any, mesh: DeviceMesh) -> None:
    rules: dict[nn.Module, PlanRule | None] = {}
    fused = defaultdict[nn.Module, dict[str, int]](dict)
    templates: dict[Any, DTensor] = {}
    for assignment in assignments(model, mesh.size()):
        key = assignment.shape, assignment.axis, assignment.parameter.dtype
        if key not in templates:
            templates[key] = _template(assignment, mesh)
        template = templates[key]
        made = parameter_like(template._local_tensor, template, assignment.parameter.requires_grad)
        for use in assignment.uses:
            rules[use.module] = use.rule
            use.module._parameters[use.key] = made
            if assignment.fused is not None:
                fused[use.module][use.key] = assignment.fused
    for module, rule in rules.items():
        become_divided(module, rule, mesh, fused[module])


def _template(assignment: Assignment, mesh: DeviceMesh) -> DTensor:
    """A DTensor on the meta device of the shape and the placement of a parameter, from which it is made."""
    shape, axis = assignment.shape, assignment.axis
    local, placement = list(shape), Replicate() if axis is None else Shard(axis)
    if axis is not None:
        first, last = portion(0, shape[axis], mesh.get_local_rank(), mesh.size())
        local[axis] = last - first
    part = torch.empty(local, dtype=assignment.parameter.dtype, device="meta")
    strides = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(part, mesh, [placement], run_check=False, shape=torch.Size(shape), stride=strides)


class _RandomNumbers:
    """A hook: in training, the processes of a tensor parallel group must draw the same random numbers.

    Otherwise dropout would be another in each, and what should be the same numbers would drift apart.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        self._group = mesh.get_group()
        self._device = mesh.device_type

    def __call__(self, model: nn.Module, _inputs: Any) -> None:
        if not model.training:
            return
        words = random_state(self._device).view(torch.int32).long()
        mark = (words * torch.arange(1, len(words) + 1)).sum().reshape(1)
        both = torch.cat([mark, -mark]).to(self._device)
        dist.all_reduce(both, op=dist.ReduceOp.MAX, group=self._group)
        if int(both[0]) != -int(both[1]):
            raise ParallelError(
                "The processes that share the layers of a model have different states of random numbers, with which "
                "dropout would make their numbers drift apart.",
                hint="Call torch.manual_seed with the same number in all processes of a tensor parallel group.",
            )


# --- Sharding ---------------------------------------------------------------------------------------------------------


def _shard(model: Any, blocks: list[nn.Module], mesh: DeviceMesh) -> None:
    fused = {
        id(module._parameters[key]): axis
        for module in model.modules()
        for key, axis in vars(module).get(FUSED, {}).items()
    }

    def place(parameter: nn.Parameter) -> Shard:
        return Shard(sharding_axis(tuple(parameter.shape), fused.get(id(parameter)), mesh.size()))

    placing = place if fused else None  # asked twice of each parameter
    for block in blocks:
        fully_shard(block, mesh=mesh, shard_placement_fn=placing)
    model.register_forward_hook(_without_views)  # before the hook of FSDP, which warns about views
    fully_shard(model, mesh=mesh, shard_placement_fn=placing, reshard_after_forward=True)
    set_packing(model, False)
    for module in (model, *blocks):
        module.register_forward_pre_hook(_gather_outside_inference_mode, prepend=True)
    for name in METHODS:
        if ismethod(getattr(model, name, None)):
            register_fsdp_forward_method(model, name)
            setattr(model, name, partial(_gathered, model, getattr(model, name)))


def _gather_outside_inference_mode(module: Any, _inputs: Any = ()) -> None:
    """Gather parameters before FSDP does, where inference mode is on.

    FSDP keeps the tensors into which it gathers, and one that is made in inference mode cannot be trained with.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(mode=False):
            module.unshard()


def _gathered(model: nn.Module, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """What a method returns that computes without ``forward``."""
    _gather_outside_inference_mode(model)
    return method(*arguments, **keywords)


def _without_views(_model: nn.Module, _inputs: Any, output: Any) -> Any:
    """Copies in place of views: writing into a view would take away the hook by which FSDP gathers for the backward."""
    if not torch.is_grad_enabled():
        return output

    def plain(value: Any) -> Any:
        is_view = isinstance(value, Tensor) and value.requires_grad and value._base is not None
        return value.clone() if is_view else value

    return pytree.tree_map(plain, output)
