"""From the files of a model to its tensors: which format is read, where there are several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry import discovery
from registry.errors import AmbiguousWeightsError, CorruptWeightsError, MissingFileError
from registry.records import Paths, WeightLoaderSpec
from registry.serialization import MANIFEST_NAME, read_manifest
from registry.weights import safetensors, torch_pickle
from registry.weights.names import NameTable
from registry.weights.shards import FileNames, start

if TYPE_CHECKING:
    from torch import Tensor

FORMATS: Mapping[WeightLoaderSpec, FileNames] = {
    WeightLoaderSpec(
        format="safetensors",
        detect="registry.weights.safetensors:detect",
        loader="registry.weights.safetensors:load",
    ): safetensors.FILES,
    WeightLoaderSpec(
        format="torch",
        detect="registry.weights.torch_pickle:detect",
        loader="registry.weights.torch_pickle:load",
    ): torch_pickle.FILES,
}
"""Formats of any architecture, in the order in which they are preferred; those of plugins come after them."""

IMPOSTORS = {
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"version https://git-lfs": "the pointer of git-lfs to a file; `git lfs pull` fetches it",
    b"pk\x03\x04": "a zip archive, not one of torch",
    b"\x1f\x8b": "a gzip archive",
    b"\x89hdf": "an HDF5 file",
    b"\x80": "a pickle that torch.save did not write",
    b"{": "a JSON file",
}
"""What a file is that begins with these bytes, in lower case."""


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
    passed_over: tuple[str, ...] = ()
    """Names of weight files in other formats, which are not read."""


def open_checkpoint(paths: Paths, architecture: str) -> Checkpoint:
    """Open the weights among ``paths``; with more than one format the manifest tells, else the order of ``FORMATS``.

    Raises MissingFileError when there are none, AmbiguousWeightsError when the manifest leaves open which are meant,
    CorruptWeightsError when a file is not what its name says, and what the format's loader raises.
    """
    for spec, names in FORMATS.items():
        claimed = names.entry(paths)
        if claimed in (names.single, names.index) and not _detects(spec, paths):
            raise _impostor(paths[claimed], spec.format)
    found = [spec for spec in FORMATS if _detects(spec, paths)]
    if not found:
        return _open_with_plugin(paths, architecture)
    spec = found[0] if len(found) == 1 else _meant(found, paths)
    return Checkpoint(
        tensors=spec.loader.load()(paths),
        format=spec.format,
        files=FORMATS[spec].present(paths),
        passed_over=tuple(name for other in found if other != spec for name in FORMATS[other].present(paths)),
    )


def _detects(spec: WeightLoaderSpec, paths: Paths) -> bool:
    return bool(spec.detect.load()(paths))


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


def _open_with_plugin(paths: Paths, architecture: str) -> Checkpoint:
    """Open weights in a format that only a plugin can read."""
    spec = discovery.find(
        WeightLoaderSpec,
        lambda spec: spec.architecture in ("*", architecture) and _detects(spec, paths),
        asked=f"a reader for the weights of {architecture!r}",
    )
    if spec is None:
        raise _no_weights(paths)
    return Checkpoint(
        tensors=spec.loader.load()(paths),
        format=spec.format,
        files=tuple(sorted(paths)),
        names=None if spec.names is None else spec.names.load(),
    )


def _no_weights(paths: Paths) -> MissingFileError | CorruptWeightsError:
    if len(paths) == 1 and not next(iter(paths)).endswith(".json"):
        return _impostor(next(iter(paths.values())), " or ".join(spec.format for spec in FORMATS))
    wanted = ", ".join(name for names in FORMATS.values() for name in (names.single, names.index))
    return MissingFileError(
        f"No weights are among the files {', '.join(sorted(paths)[:8]) or '(there are none)'}: looked for were "
        f"{wanted}, and what plugins read.",
        hint="Save them with registry.save(model, directory)." + discovery.failures(),
    )


def _impostor(path: Path, expected: str) -> CorruptWeightsError:
    """A file whose name promises another content; an empty one is recognised as what it begins with, nothing."""
    first = start(path).lstrip().lower()
    found = next((words for begin, words in IMPOSTORS.items() if first.startswith(begin)), "something else")
    return CorruptWeightsError(
        f"{path} should hold {expected}, by its name, but begins as {found if first else 'an empty file'}.",
        hint="Fetch it again, or remove it: a download that went wrong leaves such files.",
    )
