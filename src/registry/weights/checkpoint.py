"""From the files of a model to its tensors: which format is read, where there are several."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import evolve, frozen

from registry import discovery
from registry.discovery import Architecture
from registry.errors import AmbiguousWeightsError, CorruptWeightsError, MissingFileError, RegistryError, WeightsError
from registry.files import signatures
from registry.files.filenames import MANIFEST_NAME
from registry.formatting import first_of
from registry.records import Paths, WeightLoaderSpec
from registry.saving.manifest import read_manifest
from registry.weights import numpy_shards, safetensors
from registry.weights.headers import Headers, header_of
from registry.weights.names import NameTable
from registry.weights.tensorflow import bundle
from registry.weights.torch import reader

if TYPE_CHECKING:
    from torch import Tensor


class FormatFiles(Protocol):
    """The names of a format's files."""

    @property
    def wanted(self) -> str:
        """The files that are looked for, as text."""

    def claimed(self, paths: Paths) -> str | None:
        """A file that is of this format by its name."""

    def present(self, paths: Paths) -> tuple[str, ...]:
        """Names of all files that hold the weights, where the format is detected."""


def _core_format(format: str, module: str) -> WeightLoaderSpec:
    module = f"registry.weights.{module}"
    return WeightLoaderSpec(
        format=format, detect=f"{module}:detect", loader=f"{module}:load", headers=f"{module}:headers"
    )


FORMATS: Mapping[WeightLoaderSpec, FormatFiles] = {
    _core_format("safetensors", "safetensors"): safetensors.FILES,
    _core_format("torch", "torch.reader"): reader.FILES,
    _core_format("tensorflow", "tensorflow.bundle"): bundle.FILES,
    _core_format("numpy", "numpy_shards"): numpy_shards.FILES,
}
"""Formats of any architecture, in the order in which they are preferred; those of plugins come after them."""

TRAINING_SUFFIXES = (".ckpt", ".pt", ".pth")
"""Endings of files which training programs write, Lightning for one."""

RELEASE_FORMATS = ("tensorflow", "numpy")
"""Formats of the TensorFlow and OpenAI checkpoints, in which tensors have other names: an architecture's own record
translates them."""


@frozen(kw_only=True)
class WeightFiles:
    """The weights among the files of a model, before any of them is read."""

    paths: Paths
    """The files of the model."""
    spec: WeightLoaderSpec
    """The format, and what reads it."""
    files: tuple[str, ...]
    """Names of the files to read."""
    ignored_files: tuple[str, ...] = ()
    """Names of weight files in other formats, which are not read."""

    def headers(self) -> Headers:
        """Shapes and types of the tensors, by their names in the file; needs no torch where the format allows."""
        if self.spec.headers is not None:
            headers: Headers = self.spec.headers.load()(self.paths)
            return headers
        return {name: header_of(tensor) for name, tensor in self.spec.loader.load()(self.paths).items()}


@frozen(kw_only=True)
class Checkpoint:
    """The weights of a model as its files have them."""

    tensors: "Mapping[str, Tensor]"
    """Tensors by their names in the file, each read when it is asked for."""
    format: str
    """The format's name: ``safetensors``."""
    files: tuple[str, ...] = ()
    """Names of the files that are read."""
    names: NameTable | None = None
    """From the format's names to the architecture's, where they differ."""
    ignored_files: tuple[str, ...] = ()
    """Names of weight files in other formats, which are not read."""
    source: str = "the file"
    """What is read, as messages and reports name it."""
    untrained: Collection[str] = ()
    """Names in the file whose values are still those of an initialization."""
    borrowed: bool = False
    """Whether the tensors belong to the caller, so that a model must not share them."""


def open_checkpoint(
    paths: Paths, architecture: Architecture | None, formats: Collection[str] | None = None
) -> Checkpoint:
    """Open the weights among the files of a model; takes the arguments of ``find_weights``.

    Raises:
        WeightsError: What ``find_weights`` and the format's loader raise.
    """
    found = find_weights(paths, architecture, formats)
    return Checkpoint(
        tensors=found.spec.loader.load()(paths),
        format=found.spec.format,
        files=found.files,
        names=None if found.spec.names is None else found.spec.names.load(),
        ignored_files=found.ignored_files,
    )


def find_weights(
    paths: Paths, architecture: Architecture | None, formats: Collection[str] | None = None
) -> WeightFiles:
    """Find the weights among the files of a model; of several formats the manifest's, else the first of ``FORMATS``.

    Args:
        paths: The files of the model.
        architecture: What plugins declare of the model's architecture; None where it is not known.
        formats: The only formats to look for; None for all.

    Raises:
        MissingFileError: There are no weights.
        AmbiguousWeightsError: The manifest leaves open which weights are meant.
        CorruptWeightsError: A file is of another format than its name says.
    """
    known = {spec: names for spec, names in FORMATS.items() if formats is None or spec.format in formats}
    detected = [spec for spec in known if _detects(spec, paths)]
    for spec, names in known.items():
        claimed = names.claimed(paths)
        if claimed is not None and spec not in detected:
            raise _other_content(paths[claimed], spec.format)
    if not detected:
        return _of_plugin(paths, architecture, formats)
    spec = detected[0] if len(detected) == 1 else _meant(detected, paths)
    others = tuple(name for other in detected if other != spec for name in FORMATS[other].present(paths))
    return WeightFiles(
        paths=paths, spec=_of(architecture, spec), files=FORMATS[spec].present(paths), ignored_files=others
    )


def _detects(spec: WeightLoaderSpec, paths: Paths) -> bool:
    return bool(spec.detect.load()(paths))


def _of(architecture: Architecture | None, spec: WeightLoaderSpec) -> WeightLoaderSpec:
    """The architecture's own record of a format that names tensors otherwise; the core's where it has none."""
    if spec.format not in RELEASE_FORMATS or architecture is None:
        return spec
    found = architecture.weight_loader(spec.format)
    return spec if found is None else evolve(found, headers=found.headers or spec.headers)


def _meant(detected: Sequence[WeightLoaderSpec], paths: Paths) -> WeightLoaderSpec:
    """The format that is read of several: the one that the manifest lists, unless another was written after it."""
    files = {spec: FORMATS[spec].present(paths) for spec in detected}
    manifest = read_manifest(paths)
    if manifest is None or not manifest.files.keys() & {name for names in files.values() for name in names}:
        return detected[0]
    changed = set(manifest.disagreements(paths))
    listed = [spec for spec in detected if set(files[spec]) <= manifest.files.keys() - changed]
    written = paths[MANIFEST_NAME].stat().st_mtime_ns
    late = [n for spec in detected if spec not in listed for n in files[spec] if paths[n].stat().st_mtime_ns > written]
    if listed and not late:
        return listed[0]
    names = " and ".join(files[spec][0] for spec in detected)
    why = f"{', '.join(late)} is newer than it" if listed else "it has another size for each of them"
    raise AmbiguousWeightsError(
        f"{paths[MANIFEST_NAME].parent} holds both {names}, and {MANIFEST_NAME} does not settle which is meant: {why}.",
        hint="Remove the one that is not meant, or save the model again with registry.save.",
    )


# --- Formats of plugins -----------------------------------------------------------------------------------------------


def _of_plugin(paths: Paths, architecture: Architecture | None, formats: Collection[str] | None) -> WeightFiles:
    """The weights in a format that only a plugin reads."""
    loaders = discovery.weight_loaders() if architecture is None else architecture.weight_loaders
    spec = discovery.settle(
        (spec for spec in loaders if (formats is None or spec.format in formats) and _detects(spec, paths)),
        asked=f"A reader for the weights of {'any architecture' if architecture is None else repr(architecture.name)}",
    )
    if spec is None:
        raise _no_weights(paths, formats)
    return WeightFiles(paths=paths, spec=spec, files=tuple(sorted(paths)))


def _no_weights(paths: Paths, formats: Collection[str] | None) -> RegistryError:
    if older := bundle.older_format(paths):
        return older
    if len(paths) == 1 and not next(iter(paths)).endswith(".json"):
        return _other_content(next(iter(paths.values())), " or ".join(formats or [spec.format for spec in FORMATS]))
    of_training = [name for name in sorted(paths) if name.endswith(TRAINING_SUFFIXES)]
    wanted = ", ".join(names.wanted for spec, names in FORMATS.items() if formats is None or spec.format in formats)
    return MissingFileError(
        f"No weights are among the files {first_of(sorted(paths), 8) or '(there are none)'}: looked for were "
        f"{wanted}, and what plugins read.",
        hint=_ways_on(of_training) + discovery.failures(),
    )


def _ways_on(of_training: Sequence[str]) -> str:
    """What to do where there are no weights; ``of_training`` are files of training programs, such as Lightning."""
    if not of_training:
        return "Save them with registry.save(model, directory)."
    return (
        f"{first_of(of_training, 3)} may hold them, from a training program; give them by hand: "
        "from_pretrained(directory, state_dict=torch.load(path, weights_only=True))."
    )


def _other_content(path: Path, expected: str) -> WeightsError:
    """The error for a file whose name promises another content."""
    try:
        found = signatures.describe(signatures.start_of(path))
    except OSError as problem:
        return CorruptWeightsError(f"{path}, which should hold {expected}, cannot be read: {problem.strerror}.")
    return CorruptWeightsError(
        f"{path} should hold {expected}, by its name, but is {found}.",
        hint="Fetch it again, or remove it: a download that went wrong leaves such files.",
    )
