"""Conversion: a checkpoint in any format becomes a saved directory, which is checked by reading it again."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from registry import discovery
from registry.config.load import ConfigFile, read_config
from registry.download.progress import ProgressBar
from registry.errors import MissingTokenizerError, SaveError
from registry.files.atomic import Writer
from registry.loading.classes import ClassArguments, task_of
from registry.loading.differences.fitness import misfit
from registry.loading.load import load_into, open_weights
from registry.loading.loaded import sentence_modules_of, writers_of_modules
from registry.loading.model import Model
from registry.loading.options import LoadOptions
from registry.loading.report import LoadReport
from registry.loading.save import save_model
from registry.sources.files import Files
from registry.tokenization.load import check_fit, processor_of
from registry.weights import safetensors
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import Patterns
from registry.weights.torch import reader
from registry.weights.write import Format, weight_writers

if TYPE_CHECKING:
    from registry.tokenization.load import Processor

READERS: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    "safetensors": safetensors.read,
    "torch": reader.read,
}
"""Readers of the files of each format that is written."""


@frozen(kw_only=True)
class Conversion:
    """The result of a conversion."""

    folder: Path
    """The directory that was written."""
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
    allow_missing: Patterns = (),
    allow_unexpected: Patterns = (),
    progress: bool | None = None,
    **config_overrides: Any,
) -> Conversion:
    """Read a model in any format, and save it as a directory which every door loads.

    Of the architecture's classes the one is taken that has a place for most of what the source holds.  Every file of
    weights is read again before it takes its place, and each tensor compared bit for bit.

    Args:
        source: A name, path or URL.
        folder: The directory to write.
        to: Format of the weights.
        allow_missing: Patterns of parameters that the source may lack; they are newly initialized.
        allow_unexpected: Patterns of names in the source that the model may lack; they are dropped.
        progress: Whether a bar is shown; None shows one on a terminal.
        config_overrides: Values that replace those of configuration fields (``num_labels=3``).

    Raises:
        RegistryError: What ``registry.load`` raises.
        SaveError: A file could not be written; what was there before is then intact.
    """
    files = Files.named(source)
    described = read_config(files, config_overrides)
    checkpoint = open_weights(files, described.architecture)
    cls = richest_class(described, checkpoint, task_of(files.source.card, described))
    tokenizer = _tokenizer(files, described)
    with ProgressBar("Converting", total=2 * len(checkpoint.tensors), unit="tensors", shown=progress) as bar:
        counted = evolve(checkpoint, tensors=_Counted(checkpoint.tensors, bar.advance))
        options = LoadOptions(allow_missing=allow_missing, allow_unexpected=allow_unexpected)
        model = load_into(cls, files, ClassArguments.of(cls, (), {}), options, described=described, checkpoint=counted)
        further = writers_of_modules(sentence_modules_of(files), folder)
        save_model(model, folder, _checked_writers(model, to, bar.advance), tokenizer, further)
    assert model.load_report is not None
    return Conversion(
        folder=Path(folder),
        model=cls.__name__,
        tokenizer=None if tokenizer is None else type(tokenizer).__name__,
        report=model.load_report,
    )


class _Counted(Mapping[str, Tensor]):
    """Tensors with a callback at each that is read."""

    def __init__(self, tensors: Mapping[str, Tensor], on_read: Callable[[], object]) -> None:
        self._tensors, self._on_read = tensors, on_read

    def __getitem__(self, name: str) -> Tensor:
        self._on_read()
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


# --- Which class ------------------------------------------------------------------------------------------------------


def richest_class(described: ConfigFile, checkpoint: Checkpoint, task: str) -> type[Model]:
    """The class of the architecture that drops least of a checkpoint, and then has least that is missing there.

    Names alone decide; where they leave it open, the class for ``task``, else the one that is declared first.
    """
    specs = described.architecture.models.values()
    classes = [discovery.load_class(spec) for spec in sorted(specs, key=lambda spec: spec.task != task)]
    best: type[Model] = min(classes, key=lambda cls: misfit(cls, described.config, checkpoint))
    return best


def _tokenizer(files: Files, described: ConfigFile) -> "Processor | None":
    try:
        tokenizer = processor_of(described.architecture, files)
    except MissingTokenizerError:
        return None
    check_fit(tokenizer, described.config)
    return tokenizer


# --- Writing, and reading again ---------------------------------------------------------------------------------------


def _checked_writers(model: Model, to: Format, on_checked: Callable[[], object]) -> dict[str, Writer]:
    """Writers of the weights that read what they wrote."""
    tensors = model.published_weights()
    writers = weight_writers(tensors, model.layout.ties, format=to)
    return {name: _checked(writer, tensors, READERS[to], on_checked) for name, writer in writers.items()}


def _checked(
    writer: Writer,
    tensors: Mapping[str, Tensor],
    read: Callable[[Path], Mapping[str, Tensor]],
    on_checked: Callable[[], object],
) -> Writer:
    def write(path: Path) -> None:
        writer(path)
        for name, tensor in read(path).items():
            if not _same_bits(tensor, tensors[name]):
                raise SaveError(
                    f"{path} was written and read again, and {name!r} came back with different values.",
                    hint="The disk or the memory may be faulty. What was there before is intact.",
                )
            on_checked()

    return write


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    a, b = (tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return a.equal(b)
