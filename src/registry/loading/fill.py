"""From the tensors of a file to a model: build it without memory, check every name and shape, then assign.

Loading is strict.  Every tensor of the file and every parameter of the model is accounted for, or the model is not
touched.  What may differ are whole *parts*, a pooler or a head: one that the file lacks is initialised, one that the
model lacks is left out, and half a part is an error.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import nan
from time import perf_counter
from typing import Any, TypeAlias

import torch
from attrs import frozen
from torch import Tensor, nn

from registry import discovery
from registry.errors import WeightsMismatchError
from registry.garbage import gc_paused
from registry.loading.meta import SkipInit, build
from registry.records import ModelSpec
from registry.weights.matching import Fate, Pair, Patterns, matches, offer, pair_up, sort
from registry.weights.names import Layout, NameTable

__all__ = ["LoadReport", "build", "fill"]

MOST_NAMES = 10
"""Names of one kind that a message spells out."""

# --- The report -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class LoadReport:
    """What became of every name, in the file and in the model."""

    source: str
    """The file or files that were read."""
    loaded: tuple[str, ...] = ()
    """Names in the model whose values the file holds under their own name."""
    tied: tuple[str, ...] = ()
    """Names in the model that share the tensor of a loaded one."""
    new: tuple[str, ...] = ()
    """Names in the model, of whole parts that the file lacks; initialised."""
    missing: tuple[str, ...] = ()
    """Names in the model that the file lacks, as ``allow_missing`` permits; initialised."""
    unexpected: tuple[str, ...] = ()
    """Names in the file that the model lacks, as ``allow_unexpected`` permits; left out."""
    dropped: tuple[str, ...] = ()
    """Names in the file left out by rule: declared buffers, parts that the model lacks, second names of a tie."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Older spellings: pairs of the name in the file and ours."""
    ignored_files: tuple[str, ...] = ()
    """Files of weights in other formats, which were not read."""
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded from {self.source} in {self.seconds:.3f} s"]
        for name, words in _LINES.items():
            items = [item if isinstance(item, str) else " -> ".join(item) for item in getattr(self, name)]
            if items:
                lines.append(f"  {words}: {_some(items)}")
        return "\n".join(lines)


_LINES = {
    "tied": "tied to a loaded tensor",
    "new": "newly initialised, since the file has no such part",
    "missing": "newly initialised, as allowed",
    "unexpected": "left out, as allowed",
    "dropped": "left out, since the model has no place for it",
    "renamed": "renamed",
    "ignored_files": "files passed over",
}


def _some(items: Collection[str], most: int = MOST_NAMES) -> str:
    """The first of ``items``, and how many there are besides."""
    rest = len(items) - most
    return ", ".join(list(items)[:most]) + (f" and {rest} more" if rest > 0 else "")


# --- Filling ----------------------------------------------------------------------------------------------------------


@frozen
class _Slot:
    """A place in a model: a module, and the attribute under which it keeps a parameter or a buffer."""

    module: nn.Module
    key: str
    tensor: Tensor


@gc_paused()
def fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    layout: Layout,
    *,
    initialise: Callable[[nn.Module], None],
    source: str,
    names: NameTable | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    allow_missing: Patterns = (),
    allow_unexpected: Patterns = (),
    copy: bool = False,
    ignored_files: Iterable[str] = (),
) -> LoadReport:
    """Give every parameter of ``model`` its value from ``tensors``, whose names ``names`` and ``layout`` explain.

    Tensors are assigned, not copied, unless ``dtype`` or ``device`` changes them, or ``copy`` asks for it since they
    belong to the caller.  ``initialise(module)`` must fill the parameters which that module itself owns; it is called
    for modules with new parameters, and cannot change the others.  ``source`` says in messages what was read.

    Names, shapes and types that are not accounted for raise WeightsMismatchError, which lists them all; the model is
    then as it was.  ``allow_missing`` lets names of the model pass that the file lacks or has in another shape, and
    ``allow_unexpected`` names of the file that the model lacks.
    """
    started = perf_counter()
    slots = _slots(model)
    offered = offer(tensors, names, layout)
    pairs = pair_up(slots, _shared(slots), offered.sources, layout)
    fates = sort(pairs, allow_missing, allow_unexpected)
    found, flaws = _read(fates, slots, tensors, allow_missing)
    problems = _problems(fates, flaws, _empty_buffers(model, fates["loaded"]))
    if problems:
        opening = f"The weights in {source} do not fit {type(model).__name__}, which was left as it was:"
        raise WeightsMismatchError("\n  ".join([opening, *problems]), hint=_advice(fates, tensors))
    drawn = _initialised([*fates["new"], *fates["missing"]], slots, initialise)
    _assign(_converted(found, slots, dtype, device, copy=copy) + _converted(drawn, slots, dtype, device), slots)
    _move_buffers(model, dtype, device)
    return _report(
        fates, offered.dropped, source=source, ignored_files=tuple(ignored_files), seconds=perf_counter() - started
    )


def _slots(model: nn.Module) -> dict[str, _Slot]:
    """The places of a model's state dict, by name; a shared parameter stands under each of its names."""
    return {
        f"{path}.{key}" if path else key: _Slot(module, key, tensor)
        for path, module in model.named_modules(remove_duplicate=False)
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]
        if tensor is not None and key not in module._non_persistent_buffers_set
    }


def _shared(slots: Mapping[str, _Slot]) -> list[list[str]]:
    """Groups of names under which the model has the same parameter."""
    groups = defaultdict(list)
    for name, slot in slots.items():
        groups[id(slot.tensor)].append(name)
    return [group for group in groups.values() if len(group) > 1]


# --- Reading and judging


Values: TypeAlias = list[tuple[Pair, Tensor]]
"""Tensors with the places in a model that they are for."""

_REAL = frozenset([torch.float16, torch.bfloat16, torch.float32, torch.float64])
"""Types that are converted into each other."""


def _read(
    fates: dict[Fate, list[Pair]], slots: Mapping[str, _Slot], tensors: Mapping[str, Tensor], allow_missing: Patterns
) -> tuple[Values, list[str]]:
    """Read the tensors that both sides have; return them with what is wrong with them.

    One that does not fit its place, and may be missing, changes its fate from ``loaded`` to ``missing``.
    """
    values: Values = []
    flaws: list[str] = []
    for pair in fates.pop("loaded"):
        (name, tensor), *others = ((source.name, source.read(tensors)) for source in pair.theirs.values())
        flaw = next(filter(None, (_flaw(tensor, slots[ours].tensor) for ours in pair.names)), None)
        if flaw is not None and matches(pair.names, allow_missing):
            fates["missing"].append(pair)
            continue
        flaws += [] if flaw is None else [f"{pair.names[0]} ({flaw})"]
        flaws += [f"{name} and {other} (tied, but not equal)" for other, twin in others if not _equal(tensor, twin)]
        values.append((pair, tensor))
    fates["loaded"] = [pair for pair, _ in values]
    return values, flaws


def _flaw(tensor: object, wanted: Tensor) -> str | None:
    """Why a tensor cannot take the place of ``wanted``; None if it can."""
    if not isinstance(tensor, Tensor):
        return f"a {type(tensor).__name__} in the file, a tensor in the model"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return "sparse, quantised or without values in the file"
    if tensor.shape != wanted.shape:
        return f"{tuple(tensor.shape)} in the file, {tuple(wanted.shape)} in the model"
    if tensor.dtype != wanted.dtype and not {tensor.dtype, wanted.dtype} <= _REAL:
        return f"{tensor.dtype} in the file, {wanted.dtype} in the model"
    return None


def _equal(one: Tensor, other: Tensor) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and (
        (one.data_ptr() == other.data_ptr() and one.stride() == other.stride()) or torch.equal(one, other)
    )


def _empty_buffers(model: nn.Module, loaded: Iterable[Pair]) -> list[str]:
    """Buffers which the constructor left without values, and the file does not give."""
    given = {name for pair in loaded for name in pair.ours.values()}
    return [name for name, buffer in model.named_buffers() if buffer.is_meta and name not in given]


def _problems(fates: Mapping[Fate, list[Pair]], flaws: Collection[str], empty: Collection[str]) -> list[str]:
    """One line for each kind of problem."""
    kinds = {
        "missing in the file": [_described(pair, "file") for pair in fates["lacking"]],
        "unknown to the model": [_described(pair, "model") for pair in fates["surplus"]],
        "unfit": flaws,
        "buffers without values": empty,
    }
    return [f"{len(items)} {kind}: {_some(items)}" for kind, items in kinds.items() if items]


def _described(pair: Pair, side: str) -> str:
    return pair.names[0] if pair.part is None else f"{pair.names[0]} (the {side} has only some of {pair.part}*)"


def _advice(fates: Mapping[Fate, list[Pair]], names: Collection[str]) -> str:
    if fates["loaded"] or fates["missing"]:
        return (
            "If that is meant: allow_missing=['classifier.*'] has names of the model initialised anew, and "
            "allow_unexpected=['classifier.*'] leaves names of the file out."
        )
    wanted = [pair.names[0] for pair in (*fates["lacking"], *fates["new"])]
    return f"No name is common to both: the file has {_some(names, 3)}; the model has {_some(wanted, 3)}.{_kin(names)}"


def _kin(names: Collection[str]) -> str:
    """The sentence that names the installed model whose names are most like ``names``; empty when none is like them."""
    best, sentence = 0.5, ""
    for spec in discovery.every(ModelSpec):
        try:
            share = _likeness(names, spec.cls.load())
        except Exception:  # noqa: BLE001, S112  # a stranger's code must not hide the error that this decorates
            continue
        if share > best:
            best, sentence = (
                share,
                f" Those of the file are like {spec.cls.name}'s, of architecture {spec.architecture!r}.",
            )
    return sentence


def _likeness(names: Collection[str], cls: Any) -> float:
    """The share of ``names`` that a model of default size has."""
    model = build(lambda: cls(cls.config_class()))
    slots, layout = _slots(model), model.layout
    pairs = pair_up(slots, [], offer(names, None, layout).sources, layout)
    return sum(len(pair.theirs) for pair in pairs if pair.ours) / max(len(names), 1)


# --- New parts


def _initialised(pairs: Iterable[Pair], slots: Mapping[str, _Slot], initialise: Callable[[nn.Module], None]) -> Values:
    """Values for what no file has, drawn beside the model, which is not touched."""
    values: Values = []
    borrowed: dict[nn.Module, dict[str, Tensor]] = defaultdict(dict)
    for pair in pairs:
        value = _blank(slots[pair.names[0]].tensor)
        values.append((pair, value))
        for slot in map(slots.__getitem__, pair.ours.values()):
            if isinstance(slot.tensor, nn.Parameter):
                borrowed[slot.module][slot.key] = value
    for module, parameters in borrowed.items():
        with _lent(module, parameters), SkipInit(), torch.no_grad():
            initialise(module)
    left = [pair.names[0] for pair, value in values if value.is_floating_point() and value.isnan().any()]
    if left:
        raise WeightsMismatchError(
            f"The file has no values for {_some(left)}, and the model's initialisation gave them none either.",
            hint="The model's init_module(module) must fill every parameter that the module itself owns.",
        )
    return values


def _blank(tensor: Tensor) -> Tensor:
    """What the constructor computed; where it computed nothing, not-a-number, which shows when it is left so."""
    if tensor.is_meta:
        nothing = nan if tensor.is_floating_point() else 0
        return nn.Parameter(torch.full(tensor.shape, nothing, dtype=tensor.dtype), requires_grad=False)
    return nn.Parameter(tensor.detach().clone(), requires_grad=False)


@contextmanager
def _lent(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Lend a module ``tensors`` as its parameters; those that are not among them have no memory meanwhile."""
    own = module._parameters
    vars(module)["_parameters"] = {key: tensors.get(key, _without_memory(tensor)) for key, tensor in own.items()}
    try:
        yield
    finally:
        vars(module)["_parameters"] = own


def _without_memory(parameter: nn.Parameter | None) -> nn.Parameter | None:
    return None if parameter is None else nn.Parameter(parameter.detach().to("meta"), requires_grad=False)


# --- Assigning


def _converted(
    values: Values, slots: Mapping[str, _Slot], dtype: torch.dtype | None, device: Any, *, copy: bool = False
) -> Values:
    """Give tensors the type of their places, or ``dtype``, and see that no two of them share memory."""
    converted: Values = []
    taken: set[int] = set()
    for pair, value in values:
        wanted = slots[pair.names[0]].tensor
        target = dtype if dtype is not None and wanted.dtype in _REAL else wanted.dtype
        value = value.detach().to(device=device, dtype=target, copy=copy).contiguous()
        converted.append((pair, value.clone() if value.data_ptr() in taken else value))
        taken.add(value.data_ptr())
    return converted


def _assign(values: Values, slots: Mapping[str, _Slot]) -> None:
    """Put each tensor into all its places, as one parameter with the attributes of the one that was there."""
    for pair, value in values:
        before = slots[pair.names[0]].tensor
        after = value
        if isinstance(before, nn.Parameter):
            after = nn.Parameter(value, requires_grad=before.requires_grad)
            vars(after).update(vars(before))
        for slot in map(slots.__getitem__, pair.ours.values()):
            setattr(slot.module, slot.key, after)


def _move_buffers(model: nn.Module, dtype: torch.dtype | None, device: Any) -> None:
    """Bring what no file holds, computed buffers, to where the parameters are."""
    for module in model.modules():
        for key in module._non_persistent_buffers_set:
            buffer = module._buffers[key]
            if buffer is not None:
                module._buffers[key] = buffer.to(device=device, dtype=dtype if buffer.dtype in _REAL else None)


def _report(fates: Mapping[Fate, list[Pair]], dropped: Iterable[str], **circumstances: Any) -> LoadReport:
    """Account for every name."""
    ours = {fate: [name for pair in pairs for name in pair.ours.values()] for fate, pairs in fates.items()}
    theirs = {fate: [source.name for pair in pairs for source in pair.theirs.values()] for fate, pairs in fates.items()}
    loaded = [(name, pair.theirs.get(full)) for pair in fates["loaded"] for full, name in pair.ours.items()]
    second = [source.name for pair in fates["loaded"] for full, source in pair.theirs.items() if full not in pair.ours]
    return LoadReport(
        loaded=tuple(name for name, source in loaded if source),
        tied=tuple(name for name, source in loaded if not source),
        new=tuple(ours["new"]),
        missing=tuple(ours["missing"]),
        unexpected=tuple(theirs["unexpected"]),
        dropped=(*dropped, *theirs["dropped"], *theirs["missing"], *second),
        renamed=tuple((source.name, name) for name, source in loaded if source and source.renamed),
        **circumstances,
    )
