"""Weights as TensorFlow writes them since 2016 (its format V2): an index of names, and shards with the bytes.

They are read without TensorFlow.  The name of a checkpoint is its prefix: ``model.ckpt`` means ``model.ckpt.index``
and ``model.ckpt.data-00000-of-00001``.
"""

import re
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from registry.errors import AmbiguousWeightsError, CorruptWeightsError, WeightsError, WeightsMismatchError
from registry.files.filenames import INDEX_SUFFIX
from registry.formatting import first_of
from registry.records import Paths
from registry.weights.checks import is_mine
from registry.weights.headers import Header
from registry.weights.shards import LazyTensors, OneSet, start
from registry.weights.tensorflow.index import OTHER_TYPES, BundleEntry, read_index
from registry.weights.tensorflow.table import FOOTER, is_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from registry.weights.mapped import MappedFile

SHARD = re.compile(r"(.+)\.data-[0-9]{5,}-of-[0-9]{5,}")
LATEST = "checkpoint"
"""The file in which training records the latest of several checkpoints."""
USUAL = "model.ckpt"
"""The prefix of pytorch-pretrained-bert."""

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The tensor that only a checkpoint of objects has, not one of names."""

CONVERT_V1 = (
    "Convert it with TensorFlow: make a variable of each tensor of tf.train.load_checkpoint(path), and save them with "
    "tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2)."
)


# --- Which files ------------------------------------------------------------------------------------------------------


class BundleNames(OneSet):
    """The file names of a TensorFlow checkpoint, after its prefix."""

    wanted = f"a TensorFlow checkpoint ({USUAL}{INDEX_SUFFIX} and its shards)"

    def claimed(self, paths: Paths) -> str | None:
        """The name of an index among ``paths``, where shards of it are there too; else None."""
        prefixes = {shard[1] for shard in map(SHARD.fullmatch, paths) if shard}
        return next((prefix + INDEX_SUFFIX for prefix in sorted(prefixes) if prefix + INDEX_SUFFIX in paths), None)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the checkpoint.  Errors are those of ``find_prefix``."""
        prefix = find_prefix(paths)
        shards = [name for name in sorted(paths) if (shard := SHARD.fullmatch(name)) and shard[1] == prefix]
        return (prefix + INDEX_SUFFIX, *shards)


FILES = BundleNames()


def detect(paths: Paths) -> bool:
    """Whether there is an index among ``paths``: a sorted table with a name that ends with ``.index``."""
    return bool(_prefixes(paths))


def find_prefix(paths: Paths) -> str:
    """The prefix of the checkpoint among ``paths``; of several the one that training recorded as the latest.

    Raises:
        AmbiguousWeightsError: There are several, and no record.
    """
    found = _prefixes(paths)
    if len(found) == 1:
        return found[0]
    text = start(paths[LATEST], 4096).decode(errors="replace") if LATEST in paths else ""
    latest = re.search(r'^model_checkpoint_path: "(?:[^"\n]*[/\\])?([^"\n/\\]+)"', text, re.MULTILINE)
    for prefix in (latest and latest[1], USUAL):  # a name alone: it never leads out of the directory
        if prefix in found:
            return str(prefix)
    raise AmbiguousWeightsError(
        f"Several TensorFlow checkpoints are in one directory: {', '.join(found[:8]) or 'none'}.",
        hint="Name one by its prefix, such as ./directory/model.ckpt-1000.",
    )


def _prefixes(paths: Paths) -> list[str]:
    indexes = [name for name in sorted(paths) if name.endswith(INDEX_SUFFIX) and name != INDEX_SUFFIX]
    return [name.removesuffix(INDEX_SUFFIX) for name in indexes if is_table(_end(paths[name]))]


def _end(path: Path) -> bytes:
    """The last bytes of a file, where a table has its magic number; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(-min(FOOTER, file.seek(0, 2)), 2)
            return file.read()
    except OSError:
        return b""


def older_format(paths: Paths) -> WeightsError | None:
    """The error for a checkpoint of another kind of TensorFlow's, or without its index; None for anything else."""
    if "saved_model.pb" in paths:
        return WeightsError(
            f"{paths['saved_model.pb'].parent} is a SavedModel of TensorFlow, a program with variables, and not read.",
            hint="Its variables may be an ordinary checkpoint: put the configuration next to them, and name them by "
            f"their prefix, {paths['saved_model.pb'].parent / 'variables' / 'variables'}.",
        )
    for name in sorted(paths):
        if shard := SHARD.fullmatch(name):
            return CorruptWeightsError(
                f"{paths[name]} is there, but its index, {shard[1]}{INDEX_SUFFIX}, is not.",
                hint="Download the missing file, and put it next to the others.",
            )
        if is_table(_end(paths[name])):
            return WeightsError(f"{paths[name]} is a TensorFlow checkpoint of the format V1.", hint=CONVERT_V1)
    return None


# --- What is in them --------------------------------------------------------------------------------------------------


def headers(paths: Paths) -> dict[str, Header]:
    """The headers of the tensors of the checkpoint among ``paths``; reads only the index, and needs no torch.

    Errors are those of ``load``.
    """
    return {name: entry.header for name, entry in _entries(paths).items()}


def load(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors of the checkpoint among ``paths``, mapped from disk; the checksum of each is compared on lookup.

    Args:
        paths: The files, by name.

    Raises:
        AmbiguousWeightsError: There are several checkpoints.
        CorruptWeightsError: The index is damaged, or a shard is missing.
        WeightsLimitError: The index is larger than any that is needed.
        WeightsMismatchError: The tensors have no names, only paths in a graph of objects.
    """
    from registry.weights.mapped import MappedFile

    entries = _entries(paths)
    files = cache(lambda shard: MappedFile(paths[shard]))
    return LazyTensors({name: partial(_read, name, entry, files) for name, entry in entries.items()})


def _entries(paths: Paths) -> dict[str, BundleEntry]:
    """The entries of the checkpoint among ``paths``, whose tensors have names."""
    prefix = find_prefix(paths)
    entries = read_index(prefix, paths)
    if OBJECT_GRAPH in entries:
        raise WeightsMismatchError(
            f"{paths[prefix + INDEX_SUFFIX]} was written by tf.train.Checkpoint: its tensors have no names, only paths "
            f"({first_of((name for name in entries if name != OBJECT_GRAPH), 3)}).",
            hint="Save it by names, in TensorFlow: `tf.compat.v1.train.Saver(variables).save(session, path)`.",
        )
    return entries


def _read(name: str, entry: BundleEntry, files: "Callable[[str], MappedFile]") -> "Tensor":
    """One tensor: a view of the mapped file, or its slices joined."""
    if entry.slices:
        import torch

        return torch.cat([_read(name, part, files) for part in entry.slices], dim=entry.axis)
    file = files(entry.shard)
    if entry.header.dtype in OTHER_TYPES.values():
        raise WeightsMismatchError(f"{name!r} in {file.path} is of type {entry.header.dtype}, which no weights are.")
    if is_mine(crc32(name.encode())):  # a number that is spread evenly, unlike offsets
        file.check(entry.offset, entry.header.nbytes, entry.checksum, name)
    return file.tensor(entry.offset, entry.header)
