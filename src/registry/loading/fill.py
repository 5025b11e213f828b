"""From the tensors of a checkpoint to a model: check every name, shape and type, then assign.

Loading is strict.  Every tensor of the file and every parameter of the model is accounted for, or the model is not
changed.  What may differ are whole *parts*, a pooler or a head: one that the file lacks is newly initialized, one that
the model lacks is dropped, and half a part is an error.  Where the checkpoint chose the class, that it lacks a part is
an error as well.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter

import torch
from attrs import evolve
from torch import Tensor, nn

from registry._version import __version__
from registry.files.digests import sample_of
from registry.loading.differences.read import read_values
from registry.loading.options import Alternatives, LoadOptions
from registry.loading.report import LoadReport, report_of
from registry.loading.slots import Slot, Values, assign, move_buffers, shared_names, slots_of, type_of
from registry.sharding.shares import own_class
from registry.weights.checkpoint import Checkpoint
from registry.weights.mapped import fetch, is_cached
from registry.weights.matching import Outcomes, Pair, classify, is_allowed, match, require_backbone, translate_names
from registry.weights.memory import copied
from registry.weights.names import Layout
from registry.weights.names.lazy import Chain, Stack, Value


def fill(
    model: nn.Module,
    checkpoint: Checkpoint,
    layout: Layout,
    init_module: Callable[[nn.Module], None],
    options: LoadOptions | None = None,
    alternatives: Alternatives | None = None,
) -> LoadReport:
    """Give every parameter of a model its value from a checkpoint.

    Tensors are assigned, not copied, unless another type or device is asked for, or they belong to the caller.

    Args:
        model: The model, which ``build`` made; a model with values of its own may be filled as well.
        checkpoint: The tensors, and the table that explains their names.
        layout: How the architecture's weights are named.
        init_module: Fills the parameters that a module itself owns; called for modules with new parameters, of which
            it cannot change the others.
        options: Type and device of the parameters, and what may be missing or unexpected.
        alternatives: How else the model could be built, for the advice of errors.

    Returns:
        What became of every name.

    Raises:
        WeightsMismatchError: Names, shapes or types are not accounted for; lists them all.  The model is then
            unchanged.
    """
    started = perf_counter()
    options = options or LoadOptions()
    slots = slots_of(model)
    layout = layout.without_wrappers_in(slots)
    translation = translate_names(checkpoint.tensors, checkpoint.names, layout)
    pairs = match(slots, shared_names(slots), translation.sources, layout)
    outcomes = classify(pairs, options.allow_missing, options.allow_unexpected)
    values, flaws = read_values(outcomes, slots, checkpoint.tensors, options, layout)
    require_backbone(outcomes)
    refused = [] if options.allow_new else _not_allowed(outcomes["new"], options)
    empty = _empty_buffers(model, outcomes["loaded"])
    if outcomes["missing"] or outcomes["unexpected"] or refused or flaws or empty:
        from registry.loading.differences.mismatch import Comparison, mismatch  # only for errors

        raise mismatch(
            Comparison(
                model=own_class(model).__name__,
                checkpoint=checkpoint,
                layout=layout,
                outcomes=outcomes,
                refused=refused,
                flaws=flaws,
                empty=empty,
                shapes={
                    name: torch.Size(tensor.shape)
                    for pair, tensor in values
                    for name in pair.names
                    if isinstance(tensor, Tensor | Chain | Stack)
                },
                buffers=[name for name, slot in slots.items() if not isinstance(slot.tensor, nn.Parameter)],
                alternatives=alternatives,
            )
        )
    checkpoint, equal_draws = _agreed(model, checkpoint, outcomes, options)
    with equal_draws:
        new = _initialized([*outcomes["new"], *outcomes["allowed_missing"]], slots, init_module)
    if options.processes is not None and not all(map(is_cached, checkpoint.paths.values())):
        _fetch(values, slots)
    converted = _converted(values, slots, options, copy=checkpoint.borrowed)
    assign(converted + _converted(new, slots, options), slots)
    move_buffers(model, options.dtype, options.device)
    return report_of(outcomes, translation, checkpoint, perf_counter() - started)


def _not_allowed(new: Iterable[Pair], options: LoadOptions) -> list[Pair]:
    """The new tensors which the caller does not allow to be missing."""
    return [pair for pair in new if not is_allowed(pair.names, options.allow_missing)]


def _initialized(
    pairs: Collection[Pair], slots: Mapping[str, Slot], init_module: Callable[[nn.Module], None]
) -> Values:
    """Values of the tensors that no file holds, of which most models have none."""
    if not pairs:
        return []
    from registry.loading.initialize import newly_initialized

    return newly_initialized(pairs, slots, init_module)


def _agreed(
    model: nn.Module, checkpoint: Checkpoint, outcomes: Outcomes, options: LoadOptions
) -> tuple[Checkpoint, AbstractContextManager[None]]:
    """Where processes share the model: all have come here with the same files, and draw the same random numbers.

    Which tensors were never trained, the first process has found out for all.
    """
    if options.processes is None:
        return checkpoint, nullcontext()
    agreement = options.processes.agreement
    names = {kind: [pair.names for pair in pairs] for kind, pairs in outcomes.items()}
    untrained = agreement.agree(
        {
            "the class": own_class(model).__name__,
            "the format": checkpoint.format,
            "dtype": options.dtype,
            "versions": (__version__, torch.__version__),
            "files": {name: sample_of(path) for name, path in checkpoint.paths.items()},
            "what they hold": names,
        },
        value=list(checkpoint.untrained),
    )
    draws = outcomes["new"] or outcomes["allowed_missing"]
    return evolve(checkpoint, untrained=untrained[0]), agreement.equal_draws() if draws else nullcontext()


def _empty_buffers(model: nn.Module, loaded: Iterable[Pair]) -> list[str]:
    """Buffers which the constructor left without values, and the file does not give."""
    given = {name for pair in loaded for name in pair.ours.values()}
    return [name for name, buffer in model.named_buffers() if buffer.is_meta and name not in given]


def _fetch(values: Sequence[tuple[Pair, Value]], slots: Mapping[str, Slot]) -> None:
    """Have the kernel fetch what this process needs of files."""
    for pair, value in values:
        slot = slots[pair.names[0]]
        if slot.share is not None:
            for part in slot.mapped(value):
                fetch(part)


def _converted(
    values: Sequence[tuple[Pair, Value]], slots: Mapping[str, Slot], options: LoadOptions, *, copy: bool = False
) -> Values:
    """The tensors with the type of their slots, or the one that is asked for; no two of them share memory."""
    converted: Values = []
    taken: set[int] = set()
    for pair, value in values:
        slot = slots[pair.names[0]]
        target = type_of(slot.tensor, options.dtype)
        tensor = _placed(slot.part_of(value).detach(), target, options.device, copy=copy)
        converted.append((pair, tensor.clone() if tensor.data_ptr() in taken else tensor))
        taken.add(tensor.data_ptr())
    return converted


def _placed(tensor: Tensor, dtype: torch.dtype, device: torch.device | None, *, copy: bool) -> Tensor:
    """A tensor, contiguous, of a type and on a device; a copy where it is not that already, or one is asked for."""
    if not (tensor.is_cpu and (device is None or device.type == "cpu")):
        return tensor.to(device=device, dtype=dtype, copy=copy).contiguous()
    return copied(tensor, dtype) if copy or tensor.dtype != dtype or not tensor.is_contiguous() else tensor
