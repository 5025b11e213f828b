"""What a model is made of: its modules with the number of their parameters, without a byte of weights."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import evolve, field, frozen
from torch import nn

from registry import discovery
from registry.config.config import Config, load_config
from registry.discovery.plugin import describe_exception
from registry.errors import RegistryError, RegistryWarning
from registry.loading.meta import build
from registry.records import Card


@frozen(kw_only=True)
class Part:
    """A module with parameters, or several alike that follow each other."""

    name: str
    """The path from the part around it: ``encoder.layer``."""
    kind: str
    """The class."""
    shapes: tuple[str, ...] = ()
    """Of its own parameters: ``weight 30,522 × 768``."""
    own: int = 0
    """Numbers in its own parameters, without what is tied to those of an earlier part."""
    tied: bool = False
    """Whether one of its own parameters is an earlier part's."""
    times: int = 1
    """How many alike there are."""
    parts: "tuple[Part, ...]" = ()

    @property
    def each(self) -> int:
        """Parameters in one of these."""
        return self.own + sum(part.parameters for part in self.parts)

    @property
    def parameters(self) -> int:
        """Parameters in all of these; a shared one counts once."""
        return self.times * self.each


@frozen(kw_only=True)
class Anatomy:
    """The modules of a model, and how far they are known to be its own."""

    whole: Part
    exact: bool
    """Whether there are as many parameters as the card says; else the sizes are the architecture's defaults."""
    segments: tuple[Part, ...] = field(init=False)
    """The largest parts side by side: what stands in the model, or in its trunk."""

    @segments.default
    def _segments(self) -> tuple[Part, ...]:
        return tuple(
            evolve(inner, name=f"{outer.name}.{inner.name}", times=outer.times * inner.times)
            if inner is not outer
            else outer
            for outer in self.whole.parts
            for inner in (outer.parts if outer.parts and not outer.own and outer.times == 1 else (outer,))
        )

    @property
    def ranked(self) -> list[tuple[Part, int]]:
        """Those that have parameters, in their order, each with its rank by their number."""
        largest_first = sorted((part for part in self.segments if part.parameters), key=lambda part: -part.parameters)
        return [(part, largest_first.index(part)) for part in self.segments if part.parameters]


def anatomy(card: Card) -> Anatomy | None:
    """The modules of a card's model; None where no class is declared, or it cannot be built, of which it warns.

    Sizes are those of the card, else of its configuration where that is on this disk, else the architecture's defaults.
    """
    spec = discovery.architecture(card.architecture).models.get(card.task)
    if spec is None:
        return None
    try:
        cls = discovery.load_class(spec)
        config = _config(card)
        whole = dissect(build(lambda: cls(config)))
    except Exception as problem:  # noqa: BLE001  # a stranger's mistake costs his drawing, not everybody's site
        warnings.warn(f"{card.name} is not drawn: {describe_exception(problem)}.", RegistryWarning, stacklevel=2)
        return None
    return Anatomy(whole=whole, exact=whole.parameters == card.num_parameters)


def dissect(model: nn.Module) -> Part:
    """The parts of a module; modules without parameters are left out, and those alike are counted."""
    return _part("", model, set())


def _config(card: Card) -> Config:
    if not card.config:
        try:
            return load_config(card.name, offline=True)
        except RegistryError:  # not on this disk
            pass
    spec = discovery.architecture(card.architecture).config
    cls: Any = None if spec is None else discovery.load_class(spec)
    config: Config = cls(**card.config)
    return config


def _part(name: str, module: nn.Module, seen: set[int]) -> Part:
    """One module; ``seen`` has the parameters that were counted, by identity."""
    own, shapes, tied = 0, [], False
    for key, parameter in module.named_parameters(recurse=False):
        shapes.append(f"{key} {' × '.join(f'{size:,}' for size in parameter.shape)}")
        tied = tied or id(parameter) in seen
        own += 0 if id(parameter) in seen else parameter.numel()
        seen.add(id(parameter))
    parts = [
        _part(child, inner, seen) for child, inner in module.named_children() if any(True for _ in inner.parameters())
    ]
    part = Part(
        name=name, kind=type(module).__name__, shapes=tuple(shapes), own=own, tied=tied, parts=tuple(_folded(parts))
    )
    return _without_wrapping(part, isinstance(module, nn.ModuleList))


def _folded(parts: Sequence[Part]) -> Iterator[Part]:
    """The parts, those alike that follow each other as one."""
    for _, alike in groupby(parts, key=lambda part: evolve(part, name="") if part.name.isdigit() else part):
        first, *others = alike
        yield evolve(first, times=1 + len(others)) if others else first


def _without_wrapping(part: Part, is_list: bool) -> Part:
    """A module that only holds another becomes that one, under both names; a list, the item of which it has many."""
    if part.own or part.shapes or len(part.parts) != 1 or not part.name:
        return part
    (inner,) = part.parts
    return evolve(inner, name=part.name if is_list else f"{part.name}.{inner.name}")
