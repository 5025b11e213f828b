"""``registry.plan``: what each process would hold of a model, computed without processes and without weights."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from registry.config.load import find_config
from registry.errors import ParallelError, UnknownOptionError
from registry.formatting import format_size
from registry.loading.classes import class_for, task_of
from registry.loading.options import dtype_of
from registry.sources.files import Files

if TYPE_CHECKING:
    import torch

    from registry.loading.model import Model
    from registry.sharding.assignment import Assignment
    from registry.sharding.shares import Share

OPTIMIZERS: Mapping[str, int] = MappingProxyType({"sgd": 0, "momentum": 1, "adamw": 2})
"""Numbers that an optimizer keeps for each element, of the type of the parameters."""
DIMENSIONS = ("fsdp", "tp")
"""The dimensions of a mesh."""


@frozen
class RuleEstimate:
    """What one rule of the plan does."""

    rule: str
    """The pattern and the word; for parameters without a rule, a description of them."""
    tensors: int
    nbytes: int
    """Bytes of these tensors in all."""
    per_process: int
    """Bytes of them in the process that has most."""


@frozen(kw_only=True)
class Estimate:
    """What each process holds of a model, in bytes; ``str`` is a table."""

    model: str
    """The model's class."""
    mesh: Mapping[str, int]
    """Processes in each dimension."""
    dtype: str
    parameters: int
    """Elements of the model."""
    nbytes: int
    """Bytes of its parameters."""
    per_process: tuple[int, ...]
    """Bytes of parameters in each process, in the order of the mesh."""
    gathered: int
    """Bytes of the largest group of parameters that is gathered at a time, where they are sharded."""
    rules: tuple[RuleEstimate, ...]
    """The effect of each rule, and the parameters without a rule."""
    complete: tuple[str, ...]
    """Tensors that every process of a tensor parallel group has complete; `*` stands for a number."""
    gradients: int
    """Bytes of gradients in a process."""
    optimizer: int
    """Bytes of the optimizer's state in a process."""
    activations: int
    """Bytes that a process keeps of one batch for the backward pass, estimated from the sizes of its layers."""
    recomputed: int
    """The same with gradient checkpointing."""
    batch: tuple[int, int]
    """Sequences of a process, and tokens of each."""

    @property
    def most(self) -> int:
        """Bytes of parameters in the process that has most."""
        return max(self.per_process)

    @property
    def training(self) -> int:
        """Bytes of a process in training: parameters, gathered ones, gradients, optimizer and activations."""
        return self.most + self.gathered + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        sizes = " x ".join(f"{name} {size}" for name, size in self.mesh.items())
        lines = [
            f"{self.model}: {self.parameters:,} parameters, {format_size(self.nbytes)} as {self.dtype}, on {sizes} = "
            f"{len(self.per_process)} processes",
            f"parameters of a process: {format_size(min(self.per_process))} to {format_size(self.most)}",
            f"gathered at a time: {format_size(self.gathered)}",
            f"training on {self.batch[0]} x {self.batch[1]} tokens adds: gradients {format_size(self.gradients)}, "
            f"optimizer {format_size(self.optimizer)}, activations about {format_size(self.activations)} "
            f"({format_size(self.recomputed)} with gradient checkpointing)",
        ]
        width = max(len(row.rule) for row in self.rules)
        lines += [
            f"  {row.rule:<{width}}  {row.tensors:>5} tensors  {format_size(row.nbytes):>9}  "
            f"{format_size(row.per_process):>9} each"
            for row in self.rules
        ]
        if self.mesh.get("tp", 1) > 1:
            lines.append(f"complete in each process of a tensor parallel group: {', '.join(self.complete)}")
        return "\n".join(lines)


def plan(
    name: str,
    task: str | None = None,
    *,
    mesh: Mapping[str, int],
    dtype: "torch.dtype | str | None" = None,
    batch: tuple[int, int] = (1, 512),
    optimizer: str = "adamw",
    cache_dir: Any = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    **config_overrides: Any,
) -> Estimate:
    """What each process would hold of a model, without any process: only the configuration is fetched.

    Args:
        name: A name, path or URL.
        task: What the model is for, as for ``registry.load``.
        mesh: How many processes there are in each dimension, ``fsdp`` and ``tp``.
        dtype: Type of the parameters; None for float32.
        batch: Sequences of a process, and tokens of each, for the estimate of activations.
        optimizer: ``"adamw"``, ``"momentum"`` or ``"sgd"``: what it keeps for each element.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download.
        revision: Branch, tag or commit of a repository of the hub.
        progress: Whether downloads show a bar.
        config_overrides: Values that replace those of configuration fields.

    Raises:
        UnknownOptionError: A dimension or an optimizer has another name.
        ParallelError: The architecture has no plan, or it does not fit the model or the number of processes.
    """
    sizes = _sizes_of(mesh)
    if optimizer not in OPTIMIZERS:
        raise UnknownOptionError(f"optimizer={optimizer!r} is not one of {', '.join(OPTIMIZERS)}.")
    from registry.loading.classes import ClassArguments
    from registry.loading.meta import build

    files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
    described = find_config(files)
    cls = class_for(task or task_of(files.source.card, described), described.architecture, files)
    arguments = ClassArguments.of(cls, (), config_overrides)
    config = described.read({**arguments.fields_of_constructor(cls.config_class), **arguments.overrides})
    model = build(lambda: cls(config, **arguments.constructor))
    return estimate(model, sizes, dtype=dtype_of(dtype), batch=batch, optimizer=optimizer)


def estimate(
    model: "Model",
    mesh: Mapping[str, int],
    *,
    dtype: "torch.dtype | None" = None,
    batch: tuple[int, int] = (1, 512),
    optimizer: str = "adamw",
) -> Estimate:
    """What each process would hold of a model, which needs no memory; see ``plan``."""
    import torch

    from registry.sharding.assignment import assignments, blocks_of

    fsdp, tp = mesh.get("fsdp", 1), mesh.get("tp", 1)
    width = (dtype or torch.float32).itemsize
    found = assignments(model, tp)
    blocks = blocks_of(model)
    shares = _shares(found, fsdp, tp)
    per_process = tuple(
        width * sum(own) for own in zip(*([share.numel for share in every] for every in shares), strict=True)
    )
    kept, recomputed = _activations(model, blocks, found, [every[0] for every in shares], batch)
    every = sum(one.parameter.numel() for one in found)
    most = max(per_process)
    return Estimate(
        model=type(model).__name__,
        mesh=dict(mesh),
        dtype=str(dtype or torch.float32).removeprefix("torch."),
        parameters=every,
        nbytes=every * width,
        per_process=per_process,
        gathered=width * _gathered(blocks, found, tp) if fsdp > 1 else 0,
        rules=tuple(_rows(found, shares, width)),
        complete=tuple(sorted({re.sub(r"\.\d+(?=\.)", ".*", one.uses[0].name) for one in found if one.axis is None})),
        gradients=most,
        optimizer=most * OPTIMIZERS[optimizer],
        activations=kept * width,
        recomputed=recomputed * width,
        batch=batch,
    )


def _sizes_of(mesh: Mapping[str, int]) -> dict[str, int]:
    for name, size in mesh.items():
        if name not in DIMENSIONS:
            raise UnknownOptionError(f"A mesh has the dimensions {' and '.join(DIMENSIONS)}, not {name!r}.")
        if type(size) is not int or size < 1:
            raise ParallelError(f"The mesh has {size!r} processes in the dimension {name!r}: a whole number is needed.")
    if not mesh:
        raise ParallelError("The mesh has no dimension.", hint='mesh={"fsdp": 2, "tp": 8}')
    return {name: mesh[name] for name in DIMENSIONS if name in mesh}


def _shares(found: "Sequence[Assignment]", fsdp: int, tp: int) -> "list[list[Share]]":
    """The shares of all processes, in the order of the mesh, for each assignment; most layers are alike."""
    made: dict[object, list[Share]] = {}
    for one in found:
        if one[1:] not in made:
            made[one[1:]] = _shares_of(one, fsdp, tp)
    return [made[one[1:]] for one in found]


def _shares_of(assignment: "Assignment", fsdp: int, tp: int) -> "list[Share]":
    from registry.sharding.shares import Cut, share

    return [
        share(assignment.shape, assignment.cuts(Cut(0, inner, tp), Cut(0, outer, fsdp)), assignment.fused)
        for outer, inner in product(range(fsdp), range(tp))
    ]


def _rows(found: "Sequence[Assignment]", shares: "Sequence[list[Share]]", width: int) -> "list[RuleEstimate]":
    """What each rule does; tensors of a tie count for the first rule that names one of them."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(found):
        rules = [str(use.rule) for use in one.uses if use.rule is not None]
        groups[rules[0] if rules else "no rule: complete in a tensor parallel group"].append(number)
    return [
        RuleEstimate(
            rule,
            len(numbers),
            width * sum(prod(found[number].shape) for number in numbers),
            width * max(sum(own) for own in zip(*([s.numel for s in shares[n]] for n in numbers), strict=True)),
        )
        for rule, numbers in groups.items()
    ]


def _gathered(blocks: Sequence[Any], found: "Sequence[Assignment]", tp: int) -> int:
    """Elements of the largest group that is gathered at a time."""
    inside = {module: number for number, block in enumerate(blocks) for module in block.modules()}
    sums: defaultdict[int, int] = defaultdict(int)
    for one in found:
        sums[inside.get(one.uses[0].module, -1)] += -(-one.parameter.numel() // (1 if one.axis is None else tp))
    return max(sums.values())


# --- Activations ------------------------------------------------------------------------------------------------------


def _activations(
    model: "Model",
    blocks: Sequence[Any],
    found: "Sequence[Assignment]",
    shares: "Sequence[Share]",
    batch: tuple[int, int],
) -> tuple[int, int]:
    """Elements that a process keeps for the backward pass, and the same where blocks are computed again.

    Layers keep what they take, and what follows a layer keeps what it gives, unless that is added to the residual
    stream; neighbors in one module take the same.
    """
    from torch import nn

    from registry.sharding.layers import ORIENTATIONS

    tokens = batch[0] * batch[1]
    weights = {
        use.module: share for one, share in zip(found, shares, strict=True) for use in one.uses if use.key == "weight"
    }
    wholes = {use.module: one for one in found for use in one.uses if use.key == "weight"}
    parents = {child: module for module in model.modules() for child in module.children()}
    kept: dict[Any, int] = {}
    taken: set[tuple[Any, int]] = set()
    for module, share in weights.items():
        orientation = ORIENTATIONS.get(type(module).forward)
        if orientation is None:
            width = 0 if isinstance(module, nn.Embedding) else share.shape[-1]
            kept[module] = tokens * width
            continue
        rule = next((use.rule for use in wholes[module].uses if use.module is module), None)
        divides = None if rule is None else "into" if rule.word == "rowwise" else "out"
        into, out = share.shape[orientation.into], share.shape[orientation.out]
        tp = _processes(wholes[module], share)
        into, out = (into // tp if divides == "into" else into), (-(-out // tp) if divides == "out" else out)
        same = (parents.get(module), into)
        kept[module] = tokens * ((0 if same in taken else into) + (0 if divides == "into" else out))
        taken.add(same)
    inside = {module: block for block in blocks for module in block.modules()}
    total, outside = sum(kept.values()), sum(number for module, number in kept.items() if module not in inside)
    of_block = max((sum(kept.get(module, 0) for module in block.modules()) for block in blocks), default=0)
    stream = min(
        (share.shape[-1] for module, share in weights.items() if "norm" in type(module).__name__.lower()), default=0
    )
    return total, outside + of_block + len(blocks) * tokens * stream


def _processes(assignment: "Assignment", share: "Share") -> int:
    """The processes that tensor parallelism divides a parameter among."""
    if assignment.axis is None:
        return 1
    axis = assignment.axis if assignment.fused is None else assignment.fused
    own = share.sizes[axis]
    return max(1, round(share.shape[axis] / own)) if own else 1
