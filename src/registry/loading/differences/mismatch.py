"""The error for weights that do not fit a model: all that differs, in one message."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.differences.read import Flaw
from registry.loading.options import Alternatives
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import Outcomes, Pair
from registry.weights.names import Layout


class Comparison(NamedTuple):
    """A model and the weights in a file, as far as they were compared."""

    model: str
    """The name of the model's class."""
    checkpoint: Checkpoint
    """What was read."""
    layout: Layout
    outcomes: Outcomes
    """What became of the tensors of both sides."""
    refused: Collection[Pair]
    """Tensors of whole parts that the file may not lack, since the checkpoint chose the class."""
    flaws: Collection[Flaw]
    """Tensors that cannot be assigned."""
    empty: Collection[str]
    """Buffers without values."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes in the file, by names in the model."""
    alternatives: Alternatives | None = None
    buffers: Collection[str] = ()
    """Names in the model of its buffers, for the advice of errors."""

    @property
    def names(self) -> list[str]:
        """All names in the model."""
        return [name for pairs in self.outcomes.values() for pair in pairs for name in pair.ours.values()]


def mismatch(found: Comparison) -> WeightsMismatchError:
    """The error that lists all that does not fit."""
    from registry.loading.differences.hints import advice  # only for errors

    problems = {
        "missing in the file": [_shown(pair, "file") for pair in found.outcomes["missing"]],
        f"missing in the file, which is to be a {found.model}": [pair.names[0] for pair in found.refused],
        "unexpected in the file": [_shown(pair, "model") for pair in found.outcomes["unexpected"]],
        "with another shape or type": list(map(str, found.flaws)),
        "buffers without values": found.empty,
    }
    lines = [f"{len(items)} {kind}: {first_of(items)}" for kind, items in problems.items() if items]
    opening = f"The weights in {found.checkpoint.source} do not fit {found.model}, which is unchanged:"
    return WeightsMismatchError("\n  ".join([opening, *lines]), hint=advice(found))


def _shown(pair: Pair, side: str) -> str:
    if pair.ours and pair.missing:
        return f"{pair.names[0]} (the file lacks {first_of(pair.missing, 3)})"
    return pair.names[0] if pair.part is None else f"{pair.names[0]} (the {side} has only some of {pair.part}*)"
