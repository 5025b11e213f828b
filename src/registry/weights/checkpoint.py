"""From the files of a model to its tensors: which format is read, where there are several."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import evolve, frozen

from registry import discovery
from registry.errors import AmbiguousWeightsError, CorruptWeightsError, MissingFileError, RegistryError, WeightsError
from registry.files.filenames import MANIFEST_NAME
from registry.records import Paths, WeightLoaderSpec
from registry.saving.manifest import read_manifest
from registry.weights import numpy_shards, safetensors
from registry.weights.headers import Headers, header_of
from registry.weights.names import NameTable
from registry.weights.shards import start
from registry.weights.tensorflow import bundle as tensor_bundle
from registry.weights.torch import reader as torch_pickle

if TYPE_CHECKING:
    from torch import Tensor


class Files(Protocol):
    """What the files of a format are called."""

    @property
    def wanted(self) -> str:
        """What is looked for, in words."""

    def claimed(self, paths: Paths) -> str | None:
        """A file that says by its name that it is of this format."""

    def present(self, paths: Paths) -> tuple[str, ...]:
        """Names of all files that hold the weights, where the format is detected."""


def _of_module(format: str, module: str) -> WeightLoaderSpec:
    module = f"registry.weights.{module}"
    return WeightLoaderSpec(
        format=format, detect=f"{module}:detect", loader=f"{module}:load", headers=f"{module}:headers"
    )


FORMATS: Mapping[WeightLoaderSpec, Files] = {
    _of_module("safetensors", "safetensors"): safetensors.FILES,
    _of_module("torch", "torch.reader"): torch_pickle.FILES,
    _of_module("tensorflow", "tensorflow.bundle"): tensor_bundle.FILES,
    _of_module("numpy", "numpy_shards"): numpy_shards.FILES,
}
"""Formats of any architecture, in the order in which they are preferred; those of plugins come after them."""

ORIGINAL = ("tensorflow", "numpy")
"""Formats in which architectures were first released, before there was torch: an architecture's own record says how
their names translate."""

IMPOSTORS = {
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"version https://git-lfs": "the pointer of git-lfs to a file; `git lfs pull` fetches it",
    b"pk\x03\x04": "a zip archive, not one of torch",
    b"\x1f\x8b": "a gzip archive",
    b"\x89hdf": "an HDF5 file",
    b"\x93numpy": "an array of numpy",
    b"\x80": "a pickle that torch.save did not write",
    b"{": "a JSON file",
}
"""What a file is that begins with these bytes, in lower case."""


@frozen(kw_only=True)
class Found:
    """The weights among the files of a model, before any of them is read."""

    paths: Paths
    spec: WeightLoaderSpec
    files: tuple[str, ...]
    """Names of the files to read."""
    ignored_files: tuple[str, ...] = ()
    """Names of weight files in other formats, which are not read."""

    def headers(self) -> Headers:
        """What the tensors look like, by their names in the file; needs no torch where the format allows."""
        if self.spec.headers is not None:
            headers: Headers = self.spec.headers.load()(self.paths)
            return headers
        return {name: header_of(tensor) for name, tensor in self.spec.loader.load()(self.paths).items()}


@frozen(kw_only=True)
class Checkpoint:
    """The weights of a model as its files have them."""

    tensors: "Mapping[str, Tensor]"
    """Names as in the file."""
    format: str
    files: tuple[str, ...]
    """Names of the files that are read."""
    names: NameTable | None = None
    """From the format's names to the architecture's, where they differ."""
    ignored_files: tuple[str, ...] = ()
    """Names of weight files in other formats, which are not read."""


def open_checkpoint(paths: Paths, architecture: str, formats: Collection[str] | None = None) -> Checkpoint:
    """Open the weights among ``paths``; errors are those of ``find_weights``, and what the format's loader raises."""
    found = find_weights(paths, architecture, formats)
    return Checkpoint(
        tensors=found.spec.loader.load()(paths),
        format=found.spec.format,
        files=found.files,
        names=None if found.spec.names is None else found.spec.names.load(),
        ignored_files=found.ignored_files,
    )


def find_weights(paths: Paths, architecture: str | None, formats: Collection[str] | None = None) -> Found:
    """Find the weights among ``paths``; with more than one format the manifest tells, else the order of ``FORMATS``.

    ``architecture`` is None where it is not known, and ``formats`` narrows what is looked for.

    Raises MissingFileError when there are none, AmbiguousWeightsError when the manifest leaves open which are meant,
    and CorruptWeightsError when a file is not what its name says.
    """
    known = {spec: names for spec, names in FORMATS.items() if formats is None or spec.format in formats}
    detected = [spec for spec in known if _detects(spec, paths)]
    for spec, names in known.items():
        claimed = names.claimed(paths)
        if claimed is not None and spec not in detected:
            raise _impostor(paths[claimed], spec.format)
    if not detected:
        return _of_plugin(paths, architecture, formats)
    spec = detected[0] if len(detected) == 1 else _meant(detected, paths)
    others = tuple(name for other in detected if other != spec for name in FORMATS[other].present(paths))
    return Found(paths=paths, spec=_of(architecture, spec), files=FORMATS[spec].present(paths), ignored_files=others)


def _detects(spec: WeightLoaderSpec, paths: Paths) -> bool:
    return bool(spec.detect.load()(paths))


def _of(architecture: str | None, spec: WeightLoaderSpec) -> WeightLoaderSpec:
    """The architecture's own record of a format that names tensors otherwise; the core's where it has none."""
    if spec.format not in ORIGINAL or architecture is None:
        return spec
    found = discovery.architecture(architecture).weight_loader(spec.format)
    return spec if found is None else evolve(found, headers=found.headers or spec.headers)


def _meant(found: Sequence[WeightLoaderSpec], paths: Paths) -> WeightLoaderSpec:
    """Which of several formats is read: the one that the manifest vouches for, unless another came after it."""
    files = {spec: FORMATS[spec].present(paths) for spec in found}
    manifest = read_manifest(paths)
    if manifest is None or not manifest.files.keys() & {name for names in files.values() for name in names}:
        return found[0]
    changed = set(manifest.disagreements(paths))
    listed = [spec for spec in found if set(files[spec]) <= manifest.files.keys() - changed]
    written = paths[MANIFEST_NAME].stat().st_mtime_ns
    late = [n for spec in found if spec not in listed for n in files[spec] if paths[n].stat().st_mtime_ns > written]
    if listed and not late:
        return listed[0]
    names = " and ".join(files[spec][0] for spec in found)
    why = f"{', '.join(late)} is newer than it" if listed else "it has another size for each of them"
    raise AmbiguousWeightsError(
        f"{paths[MANIFEST_NAME].parent} holds both {names}, and {MANIFEST_NAME} does not settle which is meant: {why}.",
        hint="Remove the one that is not meant, or save the model again with registry.save.",
    )


def _of_plugin(paths: Paths, architecture: str | None, formats: Collection[str] | None) -> Found:
    """Find weights in a format that only a plugin can read."""
    loaders = discovery.weight_loaders(architecture)
    spec = discovery.settle(
        (spec for spec in loaders if (formats is None or spec.format in formats) and _detects(spec, paths)),
        asked=f"A reader for the weights of {architecture!r}",
    )
    if spec is None:
        raise _no_weights(paths, formats)
    return Found(paths=paths, spec=spec, files=tuple(sorted(paths)))


def _no_weights(paths: Paths, formats: Collection[str] | None) -> RegistryError:
    if older := tensor_bundle.older_format(paths):
        return older
    if len(paths) == 1 and not next(iter(paths)).endswith(".json"):
        return _impostor(next(iter(paths.values())), " or ".join(formats or [spec.format for spec in FORMATS]))
    wanted = ", ".join(names.wanted for spec, names in FORMATS.items() if formats is None or spec.format in formats)
    return MissingFileError(
        f"No weights are among the files {', '.join(sorted(paths)[:8]) or '(there are none)'}: looked for were "
        f"{wanted}, and what plugins read.",
        hint="Save them with registry.save(model, directory)." + discovery.failures(),
    )


def _impostor(path: Path, expected: str) -> WeightsError:
    """A file whose name promises another content; an empty one is recognised as what it begins with, nothing."""
    first = start(path).lstrip().lower()
    found = next((words for begin, words in IMPOSTORS.items() if first.startswith(begin)), "something else")
    return CorruptWeightsError(
        f"{path} should hold {expected}, by its name, but begins as {found if first else 'an empty file'}.",
        hint="Fetch it again, or remove it: a download that went wrong leaves such files.",
    )
