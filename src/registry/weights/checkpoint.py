"""From the files of a model to its tensors: which format is read, where there are several."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from attrs import evolve, frozen

from registry import discovery
from registry.discovery import Architecture
from registry.errors import (
    AmbiguousWeightsError,
    CorruptWeightsError,
    MissingFileError,
    RegistryError,
    WeightsError,
    warn,
)
from registry.files import signatures
from registry.files.filenames import (
    ADAPTER_CONFIG_NAME,
    INDEX_SUFFIX,
    MANIFEST_NAME,
    NUMPY_SHAPES_NAME,
    is_weight_like,
)
from registry.formatting import first_of
from registry.records import LazyRef, Paths, WeightLoaderSpec
from registry.sources.files import Files
from registry.weights.headers import Headers, header_of
from registry.weights.names import NameTable

if TYPE_CHECKING:
    from torch import Tensor


class FormatFiles(Protocol):
    """The names of a format's files."""

    @property
    def wanted(self) -> str:
        """The files that are looked for, as text."""

    def claimed(self, paths: Paths) -> str | None:
        """A file that is of this format by its name."""

    def sets(self, paths: Paths) -> tuple[Paths, ...]:
        """The paths once for each set of files that holds the weights, the preferred one first."""

    def present(self, paths: Paths) -> tuple[str, ...]:
        """Names of all files that hold the weights, where the format is detected; an error where one is missing."""

    def promised(self, paths: Paths) -> tuple[str, ...]:
        """The same names, those of missing files included."""


def _core_format(format: str, module: str) -> WeightLoaderSpec:
    module = f"registry.weights.{module}"
    return WeightLoaderSpec(
        format=format, detect=f"{module}:detect", loader=f"{module}:load", headers=f"{module}:headers"
    )


FORMATS: Mapping[WeightLoaderSpec, LazyRef] = {
    _core_format(format, module): LazyRef(f"registry.weights.{module}:FILES")
    for format, module in (
        ("safetensors", "safetensors"),
        ("torch", "torch.reader"),
        ("tensorflow", "tensorflow.bundle"),
        ("numpy", "numpy_shards"),
    )
}
"""The formats of the core, in the order in which they are preferred.  An architecture's own record for one of them goes
before it; other formats of plugins come after all."""

RELEASE_FORMATS = ("tensorflow", "numpy")
"""Formats of the TensorFlow and OpenAI checkpoints, in which tensors have other names: an architecture's own record
translates them."""


class WeightFiles(NamedTuple):
    """The weights among the files of a model, before any of them is read."""

    paths: Paths
    """The files of the model, without those of other sets of weights."""
    spec: WeightLoaderSpec
    """The format, and what reads it."""
    files: tuple[str, ...]
    """Names of the files to read."""
    ignored_files: tuple[str, ...] = ()
    """Names of all other files of weights, in whatever format of whatever library, which are not read."""

    def headers(self) -> Headers:
        """Shapes and types of the tensors, by their names in the file; needs no torch where the format allows."""
        if self.spec.headers is not None:
            headers: Headers = self.spec.headers.load()(self.paths)
            return headers
        return {name: header_of(tensor) for name, tensor in self.spec.loader.load()(self.paths).items()}


@frozen(kw_only=True, eq=False, repr=False)
class Checkpoint:
    """The weights of a model as its files have them."""

    tensors: "Mapping[str, Tensor]"
    """Tensors by their names in the file, each read when it is asked for."""
    format: str
    """The format's name: ``safetensors``."""
    files: tuple[str, ...] = ()
    """Names of the files that are read."""
    paths: Paths = MappingProxyType({})
    """Those files, by their names."""
    names: NameTable | None = None
    """From the format's names to the architecture's, where they differ."""
    ignored_files: tuple[str, ...] = ()
    """Names of all other files of weights, in whatever format of whatever library, which are not read."""
    source: str = "the file"
    """What is read, as messages and reports name it."""
    untrained: Collection[str] = ()
    """Names in the file whose values are still those of an initialization."""
    generation_config: Mapping[str, Any] = MappingProxyType({})
    """What a ``generation_config.json`` next to the weights says."""
    borrowed: bool = False
    """Whether the tensors belong to the caller, so that a model must not share them."""


def open_checkpoint(
    paths: Paths,
    architecture: Architecture | None,
    formats: Collection[str] | None = None,
    files: Files | None = None,
) -> Checkpoint:
    """Open the weights among the files of a model; takes the arguments of ``find_weights``.

    Raises:
        WeightsError: What ``find_weights`` and the format's loader raise.
        IntegrityError: The directory was saved over meanwhile.
    """
    with nullcontext() if files is None else files.unchanged():
        found = find_weights(paths, architecture, formats, files)
        tensors = found.spec.loader.load()(found.paths)
    if ADAPTER_CONFIG_NAME in paths:
        warn(
            f"{paths[ADAPTER_CONFIG_NAME].parent} holds an adapter of PEFT next to the weights of its base model "
            f"({', '.join(found.files)}), which alone are read: the adapter is not applied."
        )
    return Checkpoint(
        tensors=tensors,
        format=found.spec.format,
        files=found.files,
        paths={name: found.paths[name] for name in found.files},
        names=None if found.spec.names is None else found.spec.names.load(),
        ignored_files=found.ignored_files,
    )


def find_weights(
    paths: Paths,
    architecture: Architecture | None,
    formats: Collection[str] | None = None,
    files: Files | None = None,
) -> WeightFiles:
    """Find the weights among the files of a model.

    Of several sets, the manifest's is read.  Without a manifest the first of ``FORMATS`` is, and of one format the
    single file before an index: the order of transformers.

    Args:
        paths: The files of the model.
        architecture: What plugins declare of the model's architecture; None where it is not known.
        formats: The only formats to look for; None for all.
        files: Where the paths are from; errors then tell what else is there.

    Raises:
        MissingFileError: There are no weights.
        AmbiguousWeightsError: The manifest leaves open which weights are meant.
        CorruptWeightsError: A file is of another format than its name says.
    """
    detected = []
    for spec, reference in FORMATS.items():
        if (formats is not None and spec.format not in formats) or not _may_hold(spec, paths, architecture):
            continue
        names: FormatFiles = reference.load()
        for part in names.sets(paths):
            record = _detecting(part, spec, architecture)
            if record is not None:
                detected.append(_Set(spec=record, names=names, paths=part))
            elif (claimed := names.claimed(part)) is not None:
                raise _other_content(paths[claimed], f"{spec.format}, by its name")
    if not detected:
        return _of_plugin(paths, architecture, formats, files)
    meant = detected[0] if len(detected) == 1 else _meant(detected, paths)
    read = meant.names.present(meant.paths) or tuple(filter(paths.__contains__, meant.spec.filenames))
    others = [name for each in detected for name in each.files]
    ignored = dict.fromkeys(name for name in (*others, *filter(is_weight_like, sorted(paths))) if name in paths)
    return WeightFiles(
        paths=meant.paths,
        spec=meant.spec,
        files=read,
        ignored_files=tuple(name for name in ignored if name not in read),
    )


class _Set(NamedTuple):
    """Files that hold the weights once, in one format."""

    spec: WeightLoaderSpec
    """What reads it."""
    names: FormatFiles
    """The names of the format's files."""
    paths: Paths
    """The files of the model, without those of the format's other set."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, missing ones included."""
        return self.names.promised(self.paths)

    @property
    def is_complete(self) -> bool:
        """Whether none of its files is missing."""
        return self.paths.keys() >= set(self.files)

    def newer_than(self, time: int) -> list[str]:
        """The names of its files that were written after a time in nanoseconds."""
        return [name for name in self.files if name in self.paths and self.paths[name].stat().st_mtime_ns > time]


def _may_hold(spec: WeightLoaderSpec, paths: Paths, architecture: Architecture | None) -> bool:
    """Whether files may be of a format: those of releases have a name without which their modules are not imported."""
    own = None if architecture is None else architecture.own_weight_loader(spec.format)
    if own is not None and own.detect != spec.detect:
        return True
    if spec.format == "tensorflow":
        return any(name.endswith(INDEX_SUFFIX) for name in paths)
    return spec.format != "numpy" or NUMPY_SHAPES_NAME in paths


def _detects(spec: WeightLoaderSpec, paths: Paths) -> bool:
    return bool(spec.detect.load()(paths))


def _detecting(paths: Paths, spec: WeightLoaderSpec, architecture: Architecture | None) -> WeightLoaderSpec | None:
    """The record of a format of the core that detects files: the architecture's own goes before the core's.

    In the formats of releases the names of tensors are others, and a record of any plugin may translate them.
    """
    own = None if architecture is None else architecture.own_weight_loader(spec.format)
    if own is None or not _detects(own, paths):
        if not _detects(spec, paths):
            return None
        own = architecture.weight_loader(spec.format) if architecture and spec.format in RELEASE_FORMATS else None
    if own is None:
        return spec
    return evolve(own, headers=own.headers or (spec.headers if own.loader == spec.loader else None))


def _meant(detected: Sequence[_Set], paths: Paths) -> _Set:
    """The set that is read of several: the one that the manifest lists, unless another was written after it.

    A set that was written after the manifest is read where the one that it lists has lost files: other libraries remove
    the shards of before when they save over them, and not the index.
    """
    from registry.saving.manifest import read_manifest  # few directories hold several sets

    manifest = read_manifest(paths)
    if manifest is None or not manifest.files.keys() & {name for each in detected for name in each.files}:
        return detected[0]
    intact = manifest.files.keys() - set(manifest.disagreements(paths))
    listed = [each for each in detected if set(each.files) <= intact]
    written = paths[MANIFEST_NAME].stat().st_mtime_ns
    late = [name for each in detected if each not in listed for name in each.newer_than(written)]
    if listed and not late:
        return listed[0]
    complete = [each for each in detected if each.is_complete]
    if not listed and len(complete) == 1 and set(complete[0].files) <= set(late):
        return complete[0]
    names = " and ".join(each.files[0] for each in detected)
    why = f"{', '.join(late)} is newer than it" if listed else "it has another size for each of them"
    raise AmbiguousWeightsError(
        f"{paths[MANIFEST_NAME].parent} holds both {names}, and {MANIFEST_NAME} does not settle which is meant: {why}.",
        hint="Remove the one that is not meant, or save the model again with registry.save.",
    )


# --- Formats of plugins -----------------------------------------------------------------------------------------------


def _of_plugin(
    paths: Paths, architecture: Architecture | None, formats: Collection[str] | None, files: Files | None
) -> WeightFiles:
    """The weights in a format that only a plugin reads."""
    loaders = discovery.weight_loaders() if architecture is None else architecture.weight_loaders
    spec = discovery.settle(
        (spec for spec in loaders if (formats is None or spec.format in formats) and _detects(spec, paths)),
        asked=f"A reader for the weights of {'any architecture' if architecture is None else repr(architecture.name)}",
    )
    if spec is None:
        raise _no_weights(paths, formats, files)
    return WeightFiles(paths=paths, spec=spec, files=tuple(sorted(paths)))


def _no_weights(paths: Paths, formats: Collection[str] | None, files: Files | None) -> RegistryError:
    from registry.files.foreign import explain  # no model that loads needs it
    from registry.weights.tensorflow import bundle

    if older := bundle.older_format(paths):
        return older
    explained = explain(paths, paths.get, str) if files is None else files.explained()
    if len(paths) == 1 and not explained.found and not next(iter(paths)).endswith(".json"):
        known = ", ".join(formats or [spec.format for spec in FORMATS])
        return _other_content(next(iter(paths.values())), f"weights ({known})")
    wanted = ", ".join(
        reference.load().wanted for spec, reference in FORMATS.items() if formats is None or spec.format in formats
    )
    among = f"among the files {first_of(explained.names, 8)}" if explained.names else "there"
    return MissingFileError(
        f"No weights that can be read are {among}.{explained.found} Looked for: {wanted}, and what plugins read.",
        hint=(explained.remedy or "Save them with registry.save(model, directory).") + discovery.failures(),
    )


def _other_content(path: Path, expected: str) -> WeightsError:
    """The error for a file whose name promises another content."""
    from registry.files.foreign import renamed

    try:
        found = signatures.describe(signatures.start_of(path))
    except OSError as problem:
        return CorruptWeightsError(f"{path}, which should hold {expected}, cannot be read: {problem.strerror}.")
    return CorruptWeightsError(
        f"{path} should hold {expected}, but is {found}.",
        hint=renamed(found)
        or "If it was meant to be weights, download it again: a download that went wrong leaves such files.",
    )
