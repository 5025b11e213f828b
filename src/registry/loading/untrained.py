"""Parts that still have the values of their initialization: recorded on saving, reported on loading.

A part that a file lacks is newly initialized, and so is all of a model that is constructed.  A fingerprint of the
values is kept with the model: whatever trains it, in place or by new tensors, changes the values, and so the
fingerprint.  A part counts as trained when any of its newly initialized tensors has changed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from registry.weights.names import Layout

Fingerprints: TypeAlias = Mapping[str, str]
"""Fingerprints of initial values, by name."""

UNTRAINED = "untrained"
"""The key of the manifest: fingerprints by the names in the file."""

WORD = 8
"""Bytes that are added up at a time: sums of the widest integers are an order of magnitude faster than of others."""


def fingerprint(tensor: Tensor) -> str | None:
    """A sum of the bits of a tensor, with its type and shape; None for one without values of its own.

    Read once, and not copied unless its memory is not aligned, also on other devices.
    """
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    if not plain or tensor.is_meta or tensor.is_nested or tensor.is_quantized or tensor.is_complex():
        return None
    bits = _bytes_of(tensor)
    whole = bits.numel() // WORD * WORD
    total = int(bits[:whole].view(torch.int64).sum()) + int(bits[whole:].sum())
    return f"{_kind(tensor)}:{total:x}"


def _kind(tensor: Tensor) -> str:
    """The type and shape, as a fingerprint begins."""
    return f"{str(tensor.dtype).removeprefix('torch.')}[{'x'.join(map(str, tensor.shape))}]"


def _bytes_of(tensor: Tensor) -> Tensor:
    flat = tensor.detach().resolve_neg().contiguous().reshape(-1).view(torch.uint8)  # an expanded one has no bytes
    return flat.clone() if flat.storage_offset() % WORD else flat


def fingerprints(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Fingerprints:
    """The fingerprints of some tensors."""
    found = {name: fingerprint(tensors[name]) for name in names if name in tensors}
    return {name: value for name, value in found.items() if value is not None}


def drawn(model: nn.Module) -> Fingerprints:
    """The fingerprints of all parameters of a constructed model that can be trained; none where it has no memory."""
    if next((value.is_meta for value in model.parameters()), True):  # as in every model that is being loaded
        return {}
    found = {name: value for name, value in model.named_parameters(remove_duplicate=False) if value.requires_grad}
    return {} if any(value.is_meta for value in found.values()) else fingerprints(found, found)


def noting(
    convert: Callable[[Tensor], Tensor], marks: Iterable[str], converted: dict[str, str]
) -> Callable[[Tensor], Tensor]:
    """A function that converts tensors, and notes their fingerprints: another type has other bits for the same values.

    Args:
        convert: The function; it may move tensors as well.
        marks: The fingerprints that are of interest.
        converted: Is filled with the fingerprint after the conversion, for each of them.
    """
    kinds = {mark.partition(":")[0] for mark in marks}

    def convert_and_note(before: Tensor) -> Tensor:
        after = convert(before)
        if after.dtype != before.dtype and _kind(before) in kinds:
            old, new = fingerprint(before), fingerprint(after)
            if old is not None and new is not None:
                converted[old] = new
        return after

    return convert_and_note


def unchanged(initial: Fingerprints, tensors: Mapping[str, Tensor], layout: Layout) -> Fingerprints:
    """Those of ``initial`` whose parts have not changed since.

    Of the backbone, each tensor counts for itself; one whose elements are all equal is not random, and may well be so
    after training: biases of zeros, layer norms of ones.

    Args:
        initial: Fingerprints of the initial values.
        tensors: The state dict of the model.
        layout: How the architecture's weights are named.
    """
    if not initial:
        return {}
    full = layout.in_full(list(tensors))
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for name in initial:
        parts[layout.part_of(full.get(name, name)) or name].append(name)
    same = [
        (part, name)
        for part, names in parts.items()
        if all(name in tensors and fingerprint(tensors[name]) == initial[name] for name in names)
        for name in names
    ]
    return {name: initial[name] for part, name in same if part != name or not _is_constant(tensors[name])}


def _is_constant(tensor: Tensor) -> bool:
    flat = tensor.detach().reshape(-1)
    return bool((flat == flat[:1]).all())


def recorded(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[str]:
    """Names in the files of a saved directory that its manifest records as untrained, and whose values are still those.

    Args:
        about: What the manifest says of the model.
        tensors: The tensors in the files; only those that the manifest names are read.
    """
    marks = about.get(UNTRAINED)
    if not isinstance(marks, Mapping):
        return []
    return [name for name, mark in marks.items() if name in tensors and fingerprint(tensors[name]) == mark]
