"""Weights as TensorFlow writes them since 2016 (its format V2): an index of names, and shards with the bytes.

They are read without TensorFlow.  A checkpoint is named by its prefix: ``model.ckpt`` means ``model.ckpt.index`` and
``model.ckpt.data-00000-of-00001``.
"""

import re
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import AmbiguousWeightsError, CorruptWeightsError, WeightsError, WeightsMismatchError
from registry.records import Paths
from registry.weights.headers import Header
from registry.weights.shards import LazyTensors, start
from registry.weights.tensorflow.index import INDEX, OTHER_TYPES, Entry, read_index
from registry.weights.tensorflow.table import FOOTER, is_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from registry.weights.mapped import MappedFile

SHARD = re.compile(r"(.+)\.data-[0-9]{5,}-of-[0-9]{5,}")
LATEST = "checkpoint"
"""The file in which training says which of several checkpoints is the latest."""
USUAL = "model.ckpt"
"""The prefix that the ancestor looked for."""

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The tensor that tells a checkpoint of objects from one of names."""

CONVERT_V1 = (
    "Convert it with TensorFlow: make a variable of each tensor of tf.train.load_checkpoint(path), and save them with "
    "tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V2)."
)


# --- Which files ------------------------------------------------------------------------------------------------------


class BundleNames:
    """What the files of a TensorFlow checkpoint are called, after its prefix."""

    wanted = f"a TensorFlow checkpoint ({USUAL}{INDEX} and its shards)"

    def claimed(self, paths: Paths) -> str | None:
        """A file that says by its name that it is an index: its shards lie beside it."""
        prefixes = {shard[1] for shard in map(SHARD.fullmatch, paths) if shard}
        return next((prefix + INDEX for prefix in sorted(prefixes) if prefix + INDEX in paths), None)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """Names of all files of the checkpoint that is read."""
        prefix = find_prefix(paths)
        shards = [name for name in sorted(paths) if (shard := SHARD.fullmatch(name)) and shard[1] == prefix]
        return (prefix + INDEX, *shards)


FILES = BundleNames()


def detect(paths: Paths) -> bool:
    """Whether there is an index among ``paths``: a sorted table under a name that ends with ``.index``."""
    return bool(_prefixes(paths))


def find_prefix(paths: Paths) -> str:
    """The prefix of the checkpoint among ``paths``; of several the one that training calls the latest.

    Raises AmbiguousWeightsError when nothing tells which is meant.
    """
    found = _prefixes(paths)
    if len(found) == 1:
        return found[0]
    text = start(paths[LATEST], 4096).decode(errors="replace") if LATEST in paths else ""
    latest = re.search(r'^model_checkpoint_path: "(?:[^"\n]*[/\\])?([^"\n/\\]+)"', text, re.MULTILINE)
    for prefix in (latest and latest[1], USUAL):  # a name alone: it never leads out of the folder
        if prefix in found:
            return str(prefix)
    raise AmbiguousWeightsError(
        f"Several TensorFlow checkpoints lie in one folder: {', '.join(found[:8]) or 'none'}.",
        hint="Name the one that is meant by its prefix, such as ./folder/model.ckpt-1000.",
    )


def _prefixes(paths: Paths) -> list[str]:
    indexes = [name for name in sorted(paths) if name.endswith(INDEX) and name != INDEX]
    return [name.removesuffix(INDEX) for name in indexes if is_table(_end(paths[name]))]


def _end(path: Path) -> bytes:
    """The last bytes of a file, where a table has its mark."""
    try:
        with path.open("rb") as file:
            file.seek(-min(FOOTER, file.seek(0, 2)), 2)
            return file.read()
    except OSError:
        return b""


def older_format(paths: Paths) -> WeightsError | None:
    """The error for what TensorFlow writes in other ways, and for a checkpoint without its index; else None."""
    if "saved_model.pb" in paths:
        return WeightsError(
            f"{paths['saved_model.pb'].parent} is a SavedModel of TensorFlow, a program with variables, and not read.",
            hint="Its variables may be an ordinary checkpoint: put the configuration beside them, and name them by "
            f"their prefix, {paths['saved_model.pb'].parent / 'variables' / 'variables'}.",
        )
    for name in sorted(paths):
        if shard := SHARD.fullmatch(name):
            return CorruptWeightsError(
                f"{paths[name]} is there, but {shard[1]}{INDEX}, which says what is in it, is not.",
                hint="Fetch the missing file, and put it beside the others.",
            )
        if is_table(_end(paths[name])):
            return WeightsError(f"{paths[name]} is a TensorFlow checkpoint of the format V1.", hint=CONVERT_V1)
    return None


# --- What is in them --------------------------------------------------------------------------------------------------


def headers(paths: Paths) -> dict[str, Header]:
    """What the tensors of the checkpoint among ``paths`` look like; only the index is read, and torch not needed."""
    return {name: entry.header for name, entry in read_index(find_prefix(paths), paths).items()}


def load(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors of the checkpoint among ``paths``, mapped from disk; each is checked when it is asked for.

    Raises AmbiguousWeightsError, CorruptWeightsError and WeightsLimitError; WeightsMismatchError for a checkpoint that
    names its tensors by their place in a graph of objects.
    """
    from registry.weights.mapped import MappedFile

    prefix = find_prefix(paths)
    entries = read_index(prefix, paths)
    if OBJECT_GRAPH in entries:
        raise WeightsMismatchError(
            f"{paths[prefix + INDEX]} was written by tf.train.Checkpoint: its tensors have no names of their own.",
            hint="Save it by names, in TensorFlow: `tf.compat.v1.train.Saver(variables).save(session, path)`.",
        )
    files = cache(lambda shard: MappedFile(paths[shard]))
    return LazyTensors({name: partial(_read, name, entry, files) for name, entry in entries.items()})


def _read(name: str, entry: Entry, files: "Callable[[str], MappedFile]") -> "Tensor":
    """One tensor: a view of the mapped file, or the pieces put together."""
    if entry.pieces:
        import torch

        return torch.cat([_read(name, piece, files) for piece in entry.pieces], dim=entry.axis)
    file = files(entry.shard)
    if entry.header.dtype in OTHER_TYPES.values():
        raise WeightsMismatchError(
            f"{name!r} in {file.path} is of the type {entry.header.dtype}, which no weights are."
        )
    file.check(entry.offset, entry.header.nbytes, entry.checksum, name)
    return file.tensor(entry.offset, entry.header)
