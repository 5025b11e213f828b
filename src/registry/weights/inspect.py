"""What is in files of weights, without a model: names, shapes and types; and how two of them differ."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry import discovery
from registry.config.config import Config, read_config
from registry.errors import ArchitectureMismatchError, ConfigError, MissingFileError
from registry.records import Paths
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.sources.source import Source
from registry.weights.checkpoint import Found, find_weights, open_checkpoint
from registry.weights.headers import Header, header_of
from registry.weights.matching import offer, pair_up
from registry.weights.names import Layout
from registry.weights.shards import LazyTensors

if TYPE_CHECKING:
    from torch import Tensor


def find(name: str | Path) -> Found:
    """The weights of a model or in a file, by name, path or address; their headers need no torch for most formats.

    Raises UnknownModelError, MissingFileError, and what ``find_weights`` raises.
    """
    resolution = resolve(name)
    return find_weights(Files(resolution).of("weights"), _architecture_of(resolution))


def _architecture_of(resolution: Source) -> str | None:
    if resolution.card is not None:
        return resolution.card.architecture
    config = _config_of(resolution)
    return None if config is None else config.architecture


def _config_of(resolution: Source) -> Config | None:
    """The configuration, which says how the architecture calls its tensors; None where none can be understood."""
    try:
        return read_config(resolution, Files(resolution).of("config"))[0]
    except (MissingFileError, ConfigError, ArchitectureMismatchError):
        return None


# --- Differences ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Difference:
    """What becomes of one tensor in the comparison of two checkpoints."""

    name: str
    left: Header | None
    """None where only the right one has it."""
    right: Header | None
    largest: float | None
    """The largest difference between two numbers; None where shapes differ, or one side is missing."""

    @property
    def equal(self) -> bool:
        """Whether both sides have it, with the same numbers of one type."""
        return self.left == self.right and self.largest == 0


def compare(left: str | Path, right: str | Path) -> Iterator[Difference]:
    """Compare the weights of two models or files tensor by tensor, in the order of the left one.

    Where one of the two lies beside a configuration, names are spelled as its architecture spells them, and tied
    names count as one; two spellings of one checkpoint, or two formats, are then equal.
    """
    sides = [_Side.at(name) for name in (left, right)]
    config = next((side.config for side in sides if side.config is not None), None)
    layout = Layout() if config is None else _layout(config)
    ours, theirs = (_tensors(side, config, layout) for side in sides)
    offered = offer(theirs, None, layout).sources
    for pair in pair_up(tuple(ours), [], offered, layout):
        one = next((ours[name] for name in pair.ours.values()), None)
        other = next((source.read(theirs) for source in pair.theirs.values()), None)
        yield Difference(
            name=pair.names[0],
            left=None if one is None else header_of(one),
            right=None if other is None else header_of(other),
            largest=None if one is None or other is None else largest_difference(one, other),
        )


def largest_difference(one: "Tensor", other: "Tensor") -> float | None:
    """The largest difference between two numbers in the same place; two that are none (NaN) are equal.

    None where the shapes differ; infinite where a number is none, or infinite, on one side only.
    """
    import torch

    if one.shape != other.shape:
        return None
    a, b = one.double(), other.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return 0.0
    return float((a - b).abs().nan_to_num(nan=torch.inf)[~same].max())


@frozen
class _Side:
    """The files of one side, and its configuration where it lies among them."""

    resolution: Source
    paths: Paths
    config: Config | None

    @classmethod
    def at(cls, name: str | Path) -> "_Side":
        resolution = resolve(name)
        return cls(resolution, Files(resolution).of("weights"), _config_of(resolution))


def _layout(config: Config) -> Layout:
    """How an architecture names its weights, told by any of its classes."""
    spec = next(iter(discovery.architecture(config.architecture).models.values()), None)
    layout: Layout = Layout() if spec is None else discovery.load_class(spec).layout_of(config)
    return layout


def _tensors(side: _Side, config: Config | None, layout: Layout) -> "Mapping[str, Tensor]":
    """The tensors of one side, by the names of the architecture."""
    checkpoint = open_checkpoint(side.paths, "*" if config is None else config.architecture)
    sources = offer(checkpoint.tensors, checkpoint.names, layout).sources
    return LazyTensors({name: partial(source.read, checkpoint.tensors) for name, source in sources.items()})
