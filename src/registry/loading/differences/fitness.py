"""How well the classes of an architecture fit the weights in a file, by names alone."""

from typing import Any, NamedTuple

from registry import discovery
from registry.discovery import Architecture
from registry.loading.meta import build
from registry.loading.model import Model
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import classify, match, translate_names


class Misfit(NamedTuple):
    """Numbers of tensors; a smaller tuple is a better fit."""

    dropped_of_heads: int
    """Tensors of heads that a class drops."""
    dropped: int
    """All tensors that it drops."""
    absent: int
    """Tensors that it misses in the file."""


def misfit(cls: type[Model], config: Any, checkpoint: Checkpoint) -> Misfit:
    """How far a class is from holding exactly what a checkpoint holds."""
    layout = cls.layout_of(config).configured(config)
    sources = translate_names(checkpoint.tensors, checkpoint.names, layout).sources
    names = build(lambda: cls(config)).state_dict().keys()
    outcomes = classify(match(names, [], sources, layout))
    dropped = [name for pair in (*outcomes["dropped"], *outcomes["unexpected"]) for name in pair.theirs]
    of_heads = [name for name in dropped if not name.startswith(layout.prefix)]
    return Misfit(len(of_heads), len(dropped), len(outcomes["new"]) + len(outcomes["missing"]))


def fitting_tasks(architecture: Architecture, config: Any, checkpoint: Checkpoint) -> list[str]:
    """Tasks whose classes miss nothing in a checkpoint, the one that drops least first."""
    classes = {task: discovery.load_class(spec) for task, spec in architecture.models.items()}
    found = {task: misfit(cls, config, checkpoint) for task, cls in classes.items()}
    return sorted((task for task in found if not found[task].absent), key=lambda task: found[task])
