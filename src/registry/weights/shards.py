"""Files of weights: one that holds all tensors, or several with an index that says which tensor lies in which."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry.errors import CorruptWeightsError, MissingFileError, UnsafeWeightsError
from registry.files.strict_json import MEBIBYTE, read_json_object
from registry.records import Paths

if TYPE_CHECKING:
    from torch import Tensor

    from registry.weights.headers import Header

LARGEST_INDEX = 16 * MEBIBYTE
MOST_VALUES = 400_000
"""In an index; it has one for each tensor."""


class LazyTensors(Mapping[str, "Tensor"]):
    """Tensors by name, each of which is read when it is asked for."""

    def __init__(self, readers: "Mapping[str, Callable[[], Tensor]]") -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> "Tensor":
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


@frozen
class FileNames:
    """What the files of a format are called in a folder; one that comes alone may have any name."""

    single: str
    index: str

    @property
    def wanted(self) -> str:
        """What is looked for, in words."""
        return f"{self.single}, {self.index}"

    def claimed(self, paths: Paths) -> str | None:
        """The file that says by its name that it is of this format."""
        return next((name for name in (self.single, self.index) if name in paths), None)

    def entry(self, paths: Paths) -> str | None:
        """The name of the file that reading begins with; None when none of ``paths`` can be of this format."""
        alone = next(iter(paths)) if len(paths) == 1 else None
        return next((name for name in (self.single, self.index, alone) if name in paths), None)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """Names of all files that hold the weights, the index included."""
        entry = self.entry(paths)
        if entry is None:
            return ()
        return (entry, *_read_index(paths[entry], paths)[0]) if entry == self.index else (entry,)

    def begin(self, paths: Paths, matches: Callable[[bytes], bool]) -> bool:
        """Whether the file that reading begins with is an index, or has first bytes (at most 512) that match."""
        entry = self.entry(paths)
        if entry is None:
            return False
        return _begins_object(start(paths[entry])) if entry == self.index else matches(start(paths[entry]))


def start(path: Path, length: int = 512) -> bytes:
    """The first bytes of a file; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return b""


def _begins_object(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def load_files(
    paths: Paths, names: FileNames, read: "Callable[[Path], Mapping[str, Tensor]]"
) -> "Mapping[str, Tensor]":
    """All tensors of a format's files, each file read by ``read``.

    Raises MissingFileError when there is none, UnsafeWeightsError when the index names a file elsewhere, and
    CorruptWeightsError when index and shards disagree.
    """
    entry = names.entry(paths)
    if entry is None:
        raise MissingFileError(
            f"Neither {names.single} nor {names.index} is among {', '.join(sorted(paths)) or 'no files'}."
        )
    if entry != names.index:
        return read(paths[entry])
    index = paths[entry]
    promised, total = _read_index(index, paths)
    found = {shard: read(paths[shard]) for shard in promised}
    _check_names(index, promised, found)
    readers = {name: partial(tensors.__getitem__, name) for tensors in found.values() for name in tensors}
    _check_size(index, total, [read() for read in readers.values()])
    return LazyTensors(readers)


def read_headers(paths: Paths, names: FileNames, read: "Callable[[Path], Mapping[str, Header]]") -> "dict[str, Header]":
    """What the tensors of a format's files look like, each read by ``read``; errors are those of ``load_files``."""
    entry = names.entry(paths)
    if entry != names.index:
        return dict(read(paths[entry or names.single]))
    promised, _ = _read_index(paths[entry], paths)
    found = {shard: read(paths[shard]) for shard in promised}
    _check_names(paths[entry], promised, found)
    return {name: header for headers in found.values() for name, header in headers.items()}


def _read_index(path: Path, paths: Paths) -> tuple[dict[str, set[str]], float | None]:
    """Which tensors each shard should hold, and the bytes of all of them where the index says so."""
    keys = read_json_object(path, limit=LARGEST_INDEX, values=MOST_VALUES, error=CorruptWeightsError)
    where = keys.get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(shard, str) for shard in where.values()):
        raise CorruptWeightsError(f"{path} is no index of weights: its 'weight_map' must map names to files.")
    promised: dict[str, set[str]] = {}
    for name, shard in where.items():
        promised.setdefault(shard, set()).add(name)
    for shard in promised:
        if "/" in shard or "\\" in shard or shard in ("", ".", ".."):
            raise UnsafeWeightsError(f"{path} names the file {shard!r}, but shards must lie beside their index.")
    missing = sorted(shard for shard in promised if shard not in paths)
    if missing:
        raise CorruptWeightsError(
            f"{path} names {len(promised)} shards, of which {len(missing)} are not there: {', '.join(missing[:5])}.",
            hint="Fetch the missing files, and put them beside the index.",
        )
    metadata = keys.get("metadata")
    return promised, metadata.get("total_size") if isinstance(metadata, dict) else None


def _check_names(path: Path, promised: Mapping[str, set[str]], found: Mapping[str, Mapping[str, object]]) -> None:
    for shard, names in promised.items():
        for name in sorted(names ^ set(found[shard])):
            fault = "lacks" if name in names else "holds, which the index does not say,"
            raise CorruptWeightsError(f"{path} and its shards disagree: {shard} {fault} the tensor {name!r}.")


def _check_size(path: Path, total: float | None, tensors: "list[Tensor]") -> None:
    """Tied tensors are counted once by some libraries, and by name by others."""
    distinct = {tensor.data_ptr(): tensor.nbytes for tensor in tensors}
    if total is not None and total not in (sizes := [sum(t.nbytes for t in tensors), sum(distinct.values())]):
        raise CorruptWeightsError(
            f"{path} says that all tensors take {total} bytes together, but they take {sizes[0]}."
        )
