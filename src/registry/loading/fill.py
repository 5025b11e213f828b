"""From the tensors of a checkpoint to a model: check every name, shape and type, then assign.

Loading is strict.  Every tensor of the file and every parameter of the model is accounted for, or the model is not
changed.  What may differ are whole *parts*, a pooler or a head: one that the file lacks is newly initialized, one that
the model lacks is dropped, and half a part is an error.
"""

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter

from torch import Tensor, equal, nn, strided

from registry.loading.initialize import newly_initialized
from registry.loading.options import LoadOptions
from registry.loading.report import LoadReport, mismatch, report_of
from registry.loading.slots import FLOATS, Slot, Values, assign, move_buffers, shared_names, slots_of
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import Outcome, Pair, Patterns, classify, is_allowed, match, translate_names
from registry.weights.names import Layout


def fill(
    model: nn.Module,
    checkpoint: Checkpoint,
    layout: Layout,
    init_module: Callable[[nn.Module], None],
    options: LoadOptions | None = None,
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

    Returns:
        What became of every name.

    Raises:
        WeightsMismatchError: Names, shapes or types are not accounted for; lists them all.  The model is then
            unchanged.
    """
    started = perf_counter()
    options = options or LoadOptions()
    slots = slots_of(model)
    translation = translate_names(checkpoint.tensors, checkpoint.names, layout)
    pairs = match(slots, shared_names(slots), translation.sources, layout)
    outcomes = classify(pairs, options.allow_missing, options.allow_unexpected)
    values, flaws = _read(outcomes, slots, checkpoint.tensors, options.allow_missing)
    error = mismatch(type(model).__name__, checkpoint, outcomes, flaws, _empty_buffers(model, outcomes["loaded"]))
    if error is not None:
        raise error
    new = newly_initialized([*outcomes["new"], *outcomes["allowed_missing"]], slots, init_module)
    converted = _converted(values, slots, options, copy=checkpoint.borrowed)
    assign(converted + _converted(new, slots, options), slots)
    move_buffers(model, options.dtype, options.device)
    return report_of(outcomes, translation.dropped, checkpoint, perf_counter() - started)


def _read(
    outcomes: dict[Outcome, list[Pair]],
    slots: Mapping[str, Slot],
    tensors: Mapping[str, Tensor],
    allow_missing: Patterns,
) -> tuple[Values, list[str]]:
    """Read the tensors that both sides have; return them, and those that do not fit with the reasons.

    One that does not fit its slot, and may be missing, changes its outcome from ``loaded`` to ``allowed_missing``.
    """
    values: Values = []
    flaws: list[str] = []
    for pair in outcomes.pop("loaded"):
        (name, tensor), *others = ((source.name, source.read(tensors)) for source in pair.theirs.values())
        flaw = next(filter(None, (_flaw(tensor, slots[ours].tensor) for ours in pair.names)), None)
        if flaw is not None and is_allowed(pair.names, allow_missing):
            outcomes["allowed_missing"].append(pair)
            continue
        flaws += [] if flaw is None else [f"{pair.names[0]} ({flaw})"]
        flaws += [f"{name} and {other} (tied, but not equal)" for other, twin in others if not _equal(tensor, twin)]
        values.append((pair, tensor))
    outcomes["loaded"] = [pair for pair, _ in values]
    return values, flaws


def _flaw(tensor: object, wanted: Tensor) -> str | None:
    """The reason why a tensor cannot replace ``wanted``; None if it can."""
    if not isinstance(tensor, Tensor):
        return f"a {type(tensor).__name__} in the file, a tensor in the model"
    if tensor.layout != strided or tensor.is_quantized or tensor.is_meta:
        return "sparse, quantized or without values in the file"
    if tensor.shape != wanted.shape:
        return f"{tuple(tensor.shape)} in the file, {tuple(wanted.shape)} in the model"
    if tensor.dtype != wanted.dtype and not {tensor.dtype, wanted.dtype} <= FLOATS:
        return f"{tensor.dtype} in the file, {wanted.dtype} in the model"
    return None


def _equal(one: Tensor, other: Tensor) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and ((one.data_ptr() == other.data_ptr() and one.stride() == other.stride()) or equal(one, other))


def _empty_buffers(model: nn.Module, loaded: Iterable[Pair]) -> list[str]:
    """Buffers which the constructor left without values, and the file does not give."""
    given = {name for pair in loaded for name in pair.ours.values()}
    return [name for name, buffer in model.named_buffers() if buffer.is_meta and name not in given]


def _converted(values: Values, slots: Mapping[str, Slot], options: LoadOptions, *, copy: bool = False) -> Values:
    """The tensors with the type of their slots, or the one that is asked for; no two of them share memory."""
    converted: Values = []
    taken: set[int] = set()
    for pair, value in values:
        wanted = slots[pair.names[0]].tensor
        target = options.dtype if options.dtype is not None and wanted.dtype in FLOATS else wanted.dtype
        value = value.detach().to(device=options.device, dtype=target, copy=copy).contiguous()
        converted.append((pair, value.clone() if value.data_ptr() in taken else value))
        taken.add(value.data_ptr())
    return converted
