"""The tensors in files of weights, without a model: names, shapes and types; and differences between two files."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry import discovery
from registry.config.load import ConfigFile, read_config
from registry.errors import ArchitectureMismatchError, ConfigError, MissingFileError
from registry.sources.files import Files
from registry.weights.checkpoint import WeightFiles, find_weights, open_checkpoint
from registry.weights.headers import Header, header_of
from registry.weights.matching import match, translate_names
from registry.weights.names import Layout
from registry.weights.shards import LazyTensors

if TYPE_CHECKING:
    from torch import Tensor


def find(name: str | Path) -> WeightFiles:
    """The weights of a model or in a file; their headers need no torch for most formats.

    Args:
        name: A name, path or URL.

    Raises:
        UnknownModelError: Nothing has this name.
        MissingFileError: There are no weights.
        WeightsError: What ``find_weights`` raises.
    """
    return weights_of(Files.named(name))


def weights_of(files: Files) -> WeightFiles:
    """The weights among the files of a model; raises what ``find`` raises."""
    card = files.source.card
    if card is not None:
        return find_weights(files.of("weights"), discovery.architecture(card.architecture), files=files)
    described = _described(files)
    return find_weights(files.of("weights"), None if described is None else described.architecture, files=files)


def _described(files: Files) -> ConfigFile | None:
    """The configuration, with the architecture that names the tensors; None where none can be understood."""
    try:
        return read_config(files)
    except (MissingFileError, ConfigError, ArchitectureMismatchError):
        return None


# --- Differences ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Difference:
    """One tensor in the comparison of two checkpoints."""

    name: str
    """The tensor's name, as the architecture spells it."""
    left: Header | None
    """Shape and type on the left; None where only the right side has it."""
    right: Header | None
    """Shape and type on the right; None where only the left side has it."""
    largest: float | None
    """The largest difference between two numbers; None where shapes differ, or one side is missing."""

    @property
    def equal(self) -> bool:
        """Whether both sides have it, with the same numbers of one type."""
        return self.left == self.right and self.largest == 0


def compare(left: str | Path, right: str | Path) -> Iterator[Difference]:
    """Compare the weights of two models or files tensor by tensor, in the order of the left one.

    Where one of the two comes with a configuration, names are spelled as its architecture spells them, and tied
    names count as one; two spellings of one checkpoint, or two formats, are then equal.

    Args:
        left: A name, path or URL.
        right: A name, path or URL.
    """
    for name, one, other in aligned(left, right):
        yield Difference(
            name=name,
            left=None if one is None else header_of(one),
            right=None if other is None else header_of(other),
            largest=None if one is None or other is None else largest_difference(one, other),
        )


def aligned(left: str | Path, right: str | Path) -> "Iterator[tuple[str, Tensor | None, Tensor | None]]":
    """The tensors of two models or files side by side, as ``compare`` pairs them: name, left one, right one."""
    sides = [Files.named(name) for name in (left, right)]
    described = next(filter(None, map(_described, sides)), None)
    layout = Layout() if described is None else _layout(described)
    ours, theirs = (_tensors(side, described, layout) for side in sides)
    sources = translate_names(theirs, None, layout).sources
    for pair in match(tuple(ours), [], sources, layout):
        one = next((ours[name] for name in pair.ours.values()), None)
        other = next((source.read(theirs) for source in pair.theirs.values()), None)
        yield pair.names[0], one, other


def largest_difference(one: "Tensor", other: "Tensor") -> float | None:
    """The largest difference between two numbers at the same index; two NaN are equal.

    Returns:
        None where the shapes differ; infinity where a number is NaN, or infinite, on one side only.
    """
    import torch

    if one.shape != other.shape:
        return None
    a, b = one.double(), other.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return 0.0
    return float((a - b).abs().nan_to_num(nan=torch.inf)[~same].max())


def _layout(described: ConfigFile) -> Layout:
    """How an architecture names its weights; any of its classes has the answer."""
    spec = next(iter(described.architecture.models.values()), None)
    if spec is None:
        return Layout()
    layout: Layout = discovery.load_class(spec).layout_of(described.config)
    return layout.configured(described.config)


def _tensors(files: Files, described: ConfigFile | None, layout: Layout) -> "Mapping[str, Tensor]":
    """The tensors of one side, by the names of the architecture."""
    checkpoint = open_checkpoint(
        files.of("weights"), None if described is None else described.architecture, files=files
    )
    names = None if checkpoint.names is None or described is None else checkpoint.names.configured(described.config)
    sources = translate_names(checkpoint.tensors, names, layout).sources
    return LazyTensors({name: partial(source.read, checkpoint.tensors) for name, source in sources.items()})
