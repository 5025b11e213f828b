"""Parts that still have the values of their initialization: recorded on saving, reported on loading.

A part that a file lacks is newly initialized.  A fingerprint of its values is kept with the model: whatever trains it,
in place or by new tensors, changes the values, and so the fingerprint.  A part counts as trained when any of its
newly initialized tensors has changed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from registry.weights.names import Layout

Fingerprints: TypeAlias = Mapping[str, str]
"""Fingerprints of initial values, by name."""

UNTRAINED = "untrained"
"""The key of the manifest: fingerprints by the names in the file."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(tensor: Tensor) -> str | None:
    """A sum of the bits of a tensor, with its type and shape; None for one without values of its own.

    Read once, and not copied, also on other devices.
    """
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    if not plain or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return None
    bits = tensor.detach().view(_BITS[tensor.itemsize])
    shape = "x".join(map(str, tensor.shape))
    return f"{str(tensor.dtype).removeprefix('torch.')}[{shape}]:{int(bits.sum(dtype=torch.int64)):x}"


def fingerprints(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Fingerprints:
    """The fingerprints of some tensors."""
    found = {name: fingerprint(tensors[name]) for name in names if name in tensors}
    return {name: value for name, value in found.items() if value is not None}


def unchanged(initial: Fingerprints, tensors: Mapping[str, Tensor], layout: Layout) -> Fingerprints:
    """Those of ``initial`` whose parts have not changed since; of the backbone, each tensor counts for itself.

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
        name
        for names in parts.values()
        if all(name in tensors and fingerprint(tensors[name]) == initial[name] for name in names)
        for name in names
    ]
    return {name: initial[name] for name in same}


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
