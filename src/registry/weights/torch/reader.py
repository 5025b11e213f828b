"""Weights as ``torch.save`` writes them: a zip archive, or one file with pickles in front as before torch 1.6.

Nothing here runs what a file says: its pickle is read by a machine of ours before torch reads it, torch reads it with
``weights_only=True``, and there is no other way.
"""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from registry.errors import CorruptWeightsError, RegistryError
from registry.files.filenames import WEIGHTS_INDEX_NAME, WEIGHTS_NAME
from registry.files.paths import utf8_path
from registry.files.signatures import LEGACY_TORCH, ZIP
from registry.records import Paths
from registry.weights.containers import state_dict
from registry.weights.headers import Header, header_of
from registry.weights.shards import FileNames, load_files, read_headers, start

if TYPE_CHECKING:
    from torch import Tensor

# The scanner of pickles is imported where a file of torch is read: most models have safetensors.

FILES = FileNames(WEIGHTS_NAME, WEIGHTS_INDEX_NAME)


def detect(paths: Paths) -> bool:
    """Whether the weights among ``paths`` begin as files of torch do."""
    return FILES.begin(paths, _begins_torch)


def _begins_torch(first: bytes) -> bool:
    """Whether these are the first bytes of a file of torch; in a zip archive, the first name begins at byte 30."""
    return first.startswith(LEGACY_TORCH) or (first.startswith(ZIP) and b"/data.pkl" in first[30:])


def load(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors among ``paths``, on the CPU; mapped from disk where the file is an archive.

    Args:
        paths: The files, by name.

    Raises:
        MissingFileError: No file is of this format.
        UnsafeWeightsError: A file could run code, or two readers could understand it differently.
        CorruptWeightsError: A file is damaged, or index and shards disagree.
        WeightsLimitError: A file asks for absurd amounts of memory or time.
        WeightsMismatchError: A file holds something else than a state dict.
    """
    return load_files(paths, FILES, read)


def read(path: Path) -> "dict[str, Tensor]":
    """The state dict in one file; errors are those of ``load``."""
    import torch

    archive = start(path).startswith(ZIP)
    with path.open("rb") as file, _damage_as_corrupt(path):
        before = _identity(os.fstat(file.fileno()))
        announced = announced_headers(file, str(path))  # so that torch gets nothing else
        if archive:
            from registry.weights.torch.archive import check_sums

            check_sums(file, str(path))
        with utf8_path(path) as name:
            found = torch.load(name, map_location="cpu", weights_only=True, mmap=archive)
        if _identity(path.stat()) != before:
            raise CorruptWeightsError(f"{path} was changed while it was read.", hint="Load it again.")
    tensors: dict[str, Tensor] = state_dict(found, torch.Tensor, str(path))
    if {name: header_of(tensor) for name, tensor in tensors.items()} != announced:
        raise CorruptWeightsError(f"{path} is damaged: torch reads other tensors than its pickle announces.")
    return tensors


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced, or its bytes are."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def headers(paths: Paths) -> "dict[str, Header]":
    """The headers of the tensors among ``paths``, from the outlines of their pickles; needs no torch.

    Errors are those of ``load``.
    """
    return read_headers(paths, FILES, read_file_headers)


def read_file_headers(path: Path) -> "dict[str, Header]":
    """The headers of the tensors of one file.  Errors are those of ``load``."""
    with path.open("rb") as file, _damage_as_corrupt(path):
        return announced_headers(file, str(path))


@contextmanager
def _damage_as_corrupt(path: Path) -> Iterator[None]:
    """Turn errors of every kind, which readers raise for damaged files, into CorruptWeightsError."""
    try:
        yield
    except RegistryError:
        raise
    except pickle.UnpicklingError:  # its text advises to switch the protection off
        raise CorruptWeightsError(f"{path} is damaged: its pickle cannot be read.") from None
    except Exception as problem:
        raise CorruptWeightsError(f"{path} is damaged: reading it ended in a {type(problem).__name__}.") from problem


# --- Before torch reads -----------------------------------------------------------------------------------------------


def announced_headers(file: IO[bytes], origin: str) -> "dict[str, Header]":
    """The headers of the state dict in a file.

    Raises UnsafeWeightsError for a file that does more than describe a state dict, CorruptWeightsError for one without
    the storages of its tensors, WeightsMismatchError for one of something else, and WeightsLimitError.
    """
    archive = file.read(len(ZIP)) == ZIP
    file.seek(0)
    from registry.weights.torch.archive import check_archive
    from registry.weights.torch.legacy import check_legacy
    from registry.weights.torch.pickle_scan import state_dict_headers

    return state_dict_headers((check_archive if archive else check_legacy)(file, origin), origin)
