"""A page that compares two checkpoints: which tensors changed, and how much, by layer and by part of a layer."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, frozen

from registry.errors import InputError
from registry.pages.rendering import single_page
from registry.weights.inspect import aligned, largest_difference

if TYPE_CHECKING:
    from torch import Tensor

LAYER = re.compile(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)")
"""The number of a layer in the name of a tensor: the first number between dots."""


@frozen(kw_only=True)
class Change:
    """What became of one tensor."""

    name: str
    shape: tuple[int, ...]
    state: Literal["equal", "changed", "only in A", "only in B", "shape differs"]
    layer: int | None
    """The number of its layer; None outside of the layers."""
    part: str
    """Its name with ``{i}`` for the layer."""
    relative: float | None = None
    """The norm of the difference, divided by the norm of the tensor in A (Frobenius norms)."""
    largest: float | None = None
    """The largest difference between two numbers."""
    cosine: float | None = None
    """The cosine between both, as one vector each."""


def comparison_page(left: str | Path, right: str | Path) -> str:
    """The HTML page of what changed from one checkpoint to another.

    Args:
        left: A, the earlier one: a name, path or URL.
        right: B, the later one.

    Raises:
        InputError: They have no tensor in common.
    """
    changes = list(changes_between(left, right))
    if not any(change.state in ("equal", "changed", "shape differs") for change in changes):
        raise InputError(f"{left} and {right} have no tensor in common: nothing can be compared.")
    states = [change.state for change in changes]
    values = {
        "left": str(left),
        "right": str(right),
        "changes": changes,
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "layers": sorted({change.layer for change in changes if change.layer is not None}),
        "largest": max(changes, key=lambda change: change.relative or 0.0),
    }
    data = {"changes": [_plain(change) for change in changes]}
    return single_page("comparison", f"{Path(left).name} and {Path(right).name}", data, values)


def changes_between(left: str | Path, right: str | Path) -> Iterable[Change]:
    """What became of each tensor of A in B, in the order of A."""
    for name, one, other in aligned(left, right):
        found = LAYER.search(name)
        known: Any = one if one is not None else other
        yield Change(
            name=name,
            shape=tuple(known.shape),
            layer=None if found is None else int(found[0]),
            part=LAYER.sub("{i}", name, count=1),
            **_measured(one, other),
        )


def _measured(one: "Tensor | None", other: "Tensor | None") -> dict[str, Any]:
    if one is None or other is None:
        return {"state": "only in B" if one is None else "only in A"}
    largest = largest_difference(one, other)
    if largest is None:
        return {"state": "shape differs"}
    a, b = one.double().flatten(), other.double().flatten()
    length, difference = float(a.norm()), float((b - a).norm())
    lengths = length * float(b.norm())
    return {
        "state": "changed" if largest or one.dtype != other.dtype else "equal",
        "largest": largest,
        "relative": difference / length if length else (0.0 if not difference else None),
        "cosine": float(a @ b) / lengths if lengths else None,
    }


def _plain(change: Change) -> dict[str, Any]:
    """A change as JSON, which has no numbers that are not finite."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(change).items()
    }
