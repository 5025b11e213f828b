"""Any checkpoint that can be read becomes a saved folder, checked by reading it again."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from registry import discovery
from registry.config.config import Config, read_config
from registry.download.progress import ProgressBar
from registry.errors import MissingTokenizerError, SaveError
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import CONFIG_NAME
from registry.loading.fill import LoadReport, build
from registry.loading.model import LoadOptions, Model
from registry.loading.pretrained import check_fit, load_tokenizer, task_of
from registry.saving.folder import write_folder
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.weights import safetensors
from registry.weights.checkpoint import Checkpoint, open_checkpoint
from registry.weights.matching import offer, pair_up, sort
from registry.weights.torch import reader as torch_pickle
from registry.weights.write import Format, weight_writers

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer

READERS: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    "safetensors": safetensors.read,
    "torch": torch_pickle.read,
}
"""What reads a file of each format that is written."""


@frozen(kw_only=True)
class Conversion:
    """What was written."""

    folder: Path
    model: str
    """The class whose weights they are."""
    tokenizer: str | None
    """The class of the tokenizer; None where the source has none."""
    report: LoadReport
    """What became of every name in the source."""


def convert(
    source: str | Path,
    folder: str | Path,
    *,
    to: Format = "safetensors",
    progress: bool | None = None,
    **config_overrides: Any,
) -> Conversion:
    """Read a model, by name, path or address, in any format, and save it as a folder which every door loads.

    Of the architecture's classes the one is taken that has a place for most of what the source holds.  Every file of
    weights is read again before it takes its place, and each tensor compared bit for bit.  ``progress`` shows a bar;
    None shows one on a terminal.  ``config_overrides`` replace fields of the configuration (``num_labels=3``).

    Raises what ``registry.load`` raises, and SaveError; what was in the folder before is then intact.
    """
    resolution = resolve(source)
    config, keys = read_config(resolution, Files(resolution).of("config"), **config_overrides)
    checkpoint = open_checkpoint(Files(resolution).of("weights"), config.architecture)
    cls = richest_class(config, checkpoint, task_of(resolution.card, config.architecture, keys))
    tokenizer = _tokenizer(source, config)
    with ProgressBar("Converting", total=2 * len(checkpoint.tensors), unit="tensors", shown=progress) as bar:
        counted = evolve(checkpoint, tensors=_Counted(checkpoint.tensors, bar.advance))
        model = build(lambda: cls(config))._filled(counted, f"{resolution}", LoadOptions())
        writers = {CONFIG_NAME: content_writer(model._config_text())}
        writers |= {} if tokenizer is None else tokenizer.files()
        writers |= _weights(model, to, bar.advance)
        write_folder(folder, writers, about=model._about())
    assert model.load_report is not None
    return Conversion(
        folder=Path(folder),
        model=cls.__name__,
        tokenizer=None if tokenizer is None else type(tokenizer).__name__,
        report=model.load_report,
    )


class _Counted(Mapping[str, Tensor]):
    """Tensors that tell when they are read."""

    def __init__(self, tensors: Mapping[str, Tensor], tell: Callable[[], object]) -> None:
        self._tensors, self._tell = tensors, tell

    def __getitem__(self, name: str) -> Tensor:
        self._tell()
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


# --- Which class ------------------------------------------------------------------------------------------------------


def richest_class(config: Config, checkpoint: Checkpoint, task: str) -> type[Model]:
    """The class of the architecture that leaves out least of a checkpoint, and then has least that it lacks.

    Names alone decide; where they leave it open, the class for ``task``, else the one that is declared first.
    """
    specs = discovery.architecture(config.architecture).models.values()
    classes = [discovery.load_class(spec) for spec in sorted(specs, key=lambda spec: spec.task != task)]
    best: type[Model] = min(classes, key=lambda cls: _misfit(cls, config, checkpoint))
    return best


def _misfit(cls: type[Model], config: Config, checkpoint: Checkpoint) -> tuple[int, int, int]:
    """How many tensors of heads in a checkpoint a class has no place for, how many of all, and how many it lacks."""
    layout = cls.layout_of(config)
    offered = offer(checkpoint.tensors, checkpoint.names, layout).sources
    names: Collection[str] = build(lambda: cls(config)).state_dict().keys()
    fates = sort(pair_up(names, [], offered, layout), (), ())
    left_out = [name for pair in (*fates["dropped"], *fates["surplus"]) for name in pair.theirs]
    of_heads = [name for name in left_out if not name.startswith(layout.prefix)]
    return len(of_heads), len(left_out), len(fates["new"]) + len(fates["lacking"])


def _tokenizer(source: str | Path, config: Config) -> "Tokenizer | None":
    try:
        tokenizer = load_tokenizer(source)
    except MissingTokenizerError:
        return None
    check_fit(tokenizer, config)
    return tokenizer


# --- Writing, and reading again ---------------------------------------------------------------------------------------


def _weights(model: Model, to: Format, tell: Callable[[], object]) -> dict[str, Writer]:
    """Writers of the weights that read what they wrote."""
    tensors = model.state_dict()
    writers = weight_writers(tensors, model.layout_of(model.config).ties, format=to)
    return {name: _checked(writer, tensors, READERS[to], tell) for name, writer in writers.items()}


def _checked(
    writer: Writer,
    tensors: Mapping[str, Tensor],
    read: Callable[[Path], Mapping[str, Tensor]],
    tell: Callable[[], object],
) -> Writer:
    def write(path: Path) -> None:
        writer(path)
        for name, tensor in read(path).items():
            if not _same_bits(tensor, tensors[name]):
                raise SaveError(
                    f"{path} was written and read again, and {name!r} came back with other numbers.",
                    hint="The disk or the memory may be faulty. What was there before is intact.",
                )
            tell()

    return write


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    a, b = (tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return a.equal(b)
