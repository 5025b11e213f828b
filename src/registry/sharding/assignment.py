"""Which parameter of a model is divided on which axis: what the plan says, checked, for a number of processes.

A matter of names and shapes alone: no process group is needed, and the model needs no memory.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from torch import nn

from registry.errors import ParallelError
from registry.records import LazyRef
from registry.sharding.layers import Division, divisions
from registry.sharding.plans import ParallelPlan, PlanRule
from registry.sharding.shares import Cut, own_class, portion, with_fused_axis


class Use(NamedTuple):
    """One place where a parameter is used."""

    module: nn.Module
    key: str
    name: str
    """Its full name."""
    division: Division
    rule: PlanRule | None
    """The plan's rule for the module."""


class Assignment(NamedTuple):
    """How one parameter is divided."""

    uses: list[Use]
    """The places where it is used, more than one where it is tied."""
    shape: tuple[int, ...]
    """Its shape in a process, with an additional axis where one is fused."""
    axis: int | None
    """The axis that tensor parallelism divides; None for none."""
    fused: int | None
    """The fused axis of the published tensor."""

    @property
    def parameter(self) -> Any:
        """The parameter itself."""
        return self.uses[0].module._parameters[self.uses[0].key]

    def cuts(self, tensor: Cut, sharded: Cut) -> list[Cut]:
        """The cuts of a process, whose number in either way, and that of all processes, are in those given."""
        axis = sharding_axis(self.shape, self.fused, sharded.processes)
        return [*([] if self.axis is None else [tensor._replace(axis=self.axis)]), sharded._replace(axis=axis)]


def plan_of(model: nn.Module) -> ParallelPlan:
    """The plan of a model's architecture.

    Raises:
        ParallelError: There is none.
    """
    plan = getattr(model, "parallel_plan", None)
    plan = plan.load() if isinstance(plan, LazyRef) else plan
    if not isinstance(plan, ParallelPlan):
        raise ParallelError(
            f"{own_class(model).__name__} cannot be divided: its architecture declares no parallel plan.",
            hint="The author of the plugin gives its classes one: parallel_plan = ParallelPlan(...).",
        )
    return plan


def full_names(model: Any) -> dict[str, str]:
    """Map the names of a model's modules, each under all its names, to full names, as ``Layout`` has them."""
    prefix = model.layout.prefix
    with_heads = any(name.startswith(prefix) for name, _ in model.named_parameters(remove_duplicate=False))
    before = "" if with_heads else prefix
    return {name: (before + name).rstrip(".") for name, _ in model.named_modules(remove_duplicate=False)}


def rules_of(model: Any) -> dict[nn.Module, PlanRule | None]:
    """The rule of each module of a model.

    Raises:
        ParallelError: The plan does not fit the model.
    """
    names = full_names(model)
    rules = plan_of(model).rules_for(set(names.values()), model.layout)
    found: dict[nn.Module, PlanRule | None] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        rule = rules.get(names[name])
        if found.setdefault(module, rule) != rule:
            raise ParallelError(f"The parallel plan has a rule for only one of the names of {names[name]!r}.")
    return found


def assignments(model: Any, processes: int) -> list[Assignment]:
    """How each parameter of a model is divided.

    Args:
        model: The model, not divided yet.
        processes: How many processes share its layers.

    Raises:
        ParallelError: The plan does not fit the model, or the number of processes.
    """
    plan = plan_of(model)
    if processes > 1 and not plan.rules:
        raise ParallelError(
            f"The parallel plan of {own_class(model).__name__} says nothing of its layers, which {processes} processes "
            f"cannot share.",
            hint='parallel="fsdp" shards its parameters.',
        )
    plan.check_divisible(model.config, processes)
    names = {module: name for name, module in reversed(list(model.named_modules(remove_duplicate=False)))}
    full = full_names(model)
    uses: defaultdict[int, list[Use]] = defaultdict(list)
    for module, rule in rules_of(model).items():
        name = full[names[module]]
        for key, division in divisions(module, rule, name).items():
            uses[id(module._parameters[key])].append(Use(module, key, f"{name}.{key}", division, rule))
    return [_assignment(places, processes) for places in uses.values()]


def _assignment(uses: list[Use], processes: int) -> Assignment:
    division = _division_of(uses)
    shape: tuple[int, ...] = tuple(uses[0].module._parameters[uses[0].key].shape)  # type: ignore[union-attr]
    if division.axis is None or processes == 1:
        return Assignment(uses, shape, None, None)
    _check_sizes(shape, division, uses[0], processes)
    if division.parts == 1:
        return Assignment(uses, shape, division.axis, None)
    return Assignment(uses, with_fused_axis(shape, division.axis, division.parts), division.axis + 1, division.axis)


def _division_of(uses: list[Use]) -> Division:
    """How a parameter is divided, on which all rules for its places must agree.

    A module that only holds what the heads of others share takes part in that without a rule.
    """
    ruled = {use.division for use in uses if use.rule is not None}
    if len(ruled) == 1 and all(use.rule is None or use.rule.word == "heads" for use in uses):
        return ruled.pop()
    found = {use.division for use in uses}
    if len(found) > 1:
        shown = ", ".join(f"{use.name} ({use.rule or 'no rule'})" for use in uses[:4])
        raise ParallelError(f"The parallel plan divides the names of one parameter in different ways: {shown}.")
    return found.pop()


def _check_sizes(shape: tuple[int, ...], division: Division, use: Use, processes: int) -> None:
    axis, uneven = division.axis, use.rule is not None and use.rule.word in ("vocabulary", "scores")
    assert axis is not None
    size = shape[axis]
    if size % division.parts or (not uneven and (size // division.parts) % processes):
        fused = division.parts > 1
        raise ParallelError(
            f"{use.name} has {size} features on its axis {axis}, which {processes} processes cannot share evenly"
            + (f" in {division.parts} sets." if fused else "."),
            hint="Sets of unequal sizes, as of shared keys and values, need a layer each: a row of `parted` in "
            "Layout.names makes them of one tensor of a file."
            if fused
            else None,
        )
    if uneven and portion(0, size, processes - 1, processes)[0] >= size:
        raise ParallelError(f"{use.name} has {size} rows, too few for {processes} processes.")


# --- Sharding ---------------------------------------------------------------------------------------------------------


def sharding_axis(shape: tuple[int, ...], fused: int | None, processes: int) -> int:
    """The axis on which FSDP divides a parameter: the first, unless that is one of three sets of features."""
    return 2 if fused == 0 and len(shape) == 3 and shape[2] % processes == 0 else 0


def blocks_of(model: Any) -> list[nn.Module]:
    """The modules whose parameters are gathered together; all others are one more group.

    A block that shares a parameter with another one is none of them: what is shared is gathered once.

    Raises:
        ParallelError: The plan does not fit the model.
    """
    names = full_names(model)
    modules = {names[name]: module for name, module in model.named_modules(remove_duplicate=False)}
    blocks = [modules[name] for name in plan_of(model).blocks_in(modules, model.layout)]
    owners: defaultdict[int, set[nn.Module | None]] = defaultdict(set)
    inside = {module: block for block in blocks for module in block.modules()}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].add(inside.get(module))
    return [block for block in blocks if all(len(owners[id(one)]) == 1 for one in block.parameters())]
