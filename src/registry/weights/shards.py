"""Files of weights: one with all tensors, or several shards with an index of which tensor is in which."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from registry.errors import CorruptWeightsError, MissingFileError, UnsafeWeightsError, WeightsError
from registry.files.signatures import JSON, START, start_of
from registry.files.strict_json import INDEX_VALUES, LARGEST_INDEX, read_json_object
from registry.records import Paths

if TYPE_CHECKING:
    from torch import Tensor

    from registry.weights.headers import Header


class LazyTensors(Mapping[str, "Tensor"]):
    """Tensors by name, each of which is read when it is looked up.

    Args:
        readers: For each name a function that reads the tensor.
    """

    def __init__(self, readers: "Mapping[str, Callable[[], Tensor]]") -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> "Tensor":
        return self._readers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._readers  # a Mapping would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


class OneSet:
    """The names of a format of which a directory holds one set of files."""

    def sets(self, paths: Paths) -> tuple[Paths, ...]:
        """The paths once for each set of weights among them."""
        return (paths,)

    def promised(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the weights, also of those that should be there and are not."""
        return self.present(paths)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the weights."""
        raise NotImplementedError


@frozen
class FileNames:
    """The file names of a format; a file that comes alone may have any name."""

    single: str
    """The file with all tensors."""
    index: str
    """The index of several shards."""

    @property
    def wanted(self) -> str:
        """The file names, for errors."""
        return f"{self.single}, {self.index}"

    def claimed(self, paths: Paths) -> str | None:
        """The name among ``paths`` that only a file of this format has; None where there is none."""
        return next((name for name in (self.single, self.index) if name in paths), None)

    def entry(self, paths: Paths) -> str | None:
        """The name of the file to read first; None where none of ``paths`` can be of this format."""
        alone = next(iter(paths)) if len(paths) == 1 else None
        return next((name for name in (self.single, self.index, alone) if name in paths), None)

    def sets(self, paths: Paths) -> tuple[Paths, ...]:
        """The paths once for each set of weights among them: without the index, and without the single file.

        Where both are there, the single file comes first, as it does in transformers.
        """
        if self.single not in paths or self.index not in paths:
            return (paths,)
        return tuple({name: paths[name] for name in paths if name != other} for other in (self.index, self.single))

    def promised(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the weights, also of those that the index names and that are not there.

        A damaged index is a set of its own.
        """
        entry = self.entry(paths)
        if entry != self.index:
            return self.present(paths)
        try:
            return (entry, *_read_weight_map(paths[entry])[0])
        except WeightsError:
            return (entry,)

    def present(self, paths: Paths) -> tuple[str, ...]:
        """The names of all files of the weights, the index included.

        Raises:
            CorruptWeightsError: The index is damaged, or names files that are not among ``paths``.
            UnsafeWeightsError: The index names files in other directories.
        """
        entry = self.entry(paths)
        if entry is None:
            return ()
        return (entry, *_read_index(paths[entry], paths)[0]) if entry == self.index else (entry,)

    def begin(self, paths: Paths, matches: Callable[[bytes], bool]) -> bool:
        """Whether the file to read first is an index, or its first 512 bytes match."""
        entry = self.entry(paths)
        if entry is None:
            return False
        return _begins_object(start(paths[entry])) if entry == self.index else matches(start(paths[entry]))


def start(path: Path, length: int = START) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        return start_of(path, length)
    except OSError:
        return b""


def _begins_object(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(JSON)


def load_files(
    paths: Paths, names: FileNames, read: "Callable[[Path], Mapping[str, Tensor]]"
) -> "Mapping[str, Tensor]":
    """The tensors in the files of a format.

    Args:
        paths: The files, by name.
        names: The file names of the format.
        read: Reads the tensors of one file.

    Raises:
        MissingFileError: None of the files is of the format.
        UnsafeWeightsError: The index names a file in another directory.
        CorruptWeightsError: Index and shards disagree.
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
    tensors = [read() for read in readers.values()]
    _check_size(index, total, [(tensor.data_ptr(), tensor.nbytes) for tensor in tensors])
    return LazyTensors(readers)


def read_headers(paths: Paths, names: FileNames, read: "Callable[[Path], Mapping[str, Header]]") -> "dict[str, Header]":
    """The headers of the tensors in the files of a format; arguments and errors are those of ``load_files``."""
    entry = names.entry(paths)
    if entry != names.index:
        return dict(read(paths[entry or names.single]))
    promised, total = _read_index(paths[entry], paths)
    found = {shard: read(paths[shard]) for shard in promised}
    _check_names(paths[entry], promised, found)
    in_shards = [(shard, name, header) for shard, headers in found.items() for name, header in headers.items()]
    sizes = [
        ((shard, name if header.memory is None else header.memory), header.nbytes) for shard, name, header in in_shards
    ]
    _check_size(paths[entry], total, sizes)
    return {name: header for _, name, header in in_shards}


def _read_index(path: Path, paths: Paths) -> tuple[dict[str, set[str]], Any]:
    """The names of the tensors that each shard should hold, and the bytes of all tensors where the index says so."""
    promised, total = _read_weight_map(path)
    missing = sorted(shard for shard in promised if shard not in paths)
    if missing:
        raise CorruptWeightsError(
            f"{path} names {len(promised)} shards, of which {len(missing)} are not there: {', '.join(missing[:5])}.",
            hint="Download the missing files, and put them next to the index.",
        )
    return promised, total


def _read_weight_map(path: Path) -> tuple[dict[str, set[str]], Any]:
    """The same as ``_read_index``, whether the shards are there or not."""
    keys = read_json_object(path, limit=LARGEST_INDEX, values=INDEX_VALUES, error=CorruptWeightsError)
    shard_of = keys.get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of or not all(isinstance(name, str) for name in shard_of.values()):
        raise CorruptWeightsError(f"{path} is not an index of weights: its 'weight_map' must map names to files.")
    promised: dict[str, set[str]] = {}
    for name, shard in shard_of.items():
        promised.setdefault(shard, set()).add(name)
    for shard in promised:
        if "/" in shard or "\\" in shard or shard in ("", ".", ".."):
            raise UnsafeWeightsError(
                f"{path} names the file {shard!r}, but shards must be in the directory of their index."
            )
    metadata = keys.get("metadata")
    return promised, metadata.get("total_size") if isinstance(metadata, dict) else None


def _check_names(path: Path, promised: Mapping[str, set[str]], found: Mapping[str, Mapping[str, object]]) -> None:
    for shard, names in promised.items():
        for name in sorted(names ^ set(found[shard])):
            fault = "lacks" if name in names else "holds, without being named in the index,"
            raise CorruptWeightsError(f"{path} and its shards disagree: {shard} {fault} the tensor {name!r}.")


def _check_size(path: Path, total: Any, tensors: Iterable[tuple[Hashable, int]]) -> None:
    """Compare the bytes of all tensors with what the index says.

    Tied tensors are counted once by some libraries, and by name by others.

    Args:
        path: The index.
        total: What it says, if it does.
        tensors: For each tensor where its bytes begin, and how many it has.

    Raises:
        CorruptWeightsError: It says something else.
    """
    taken, distinct = 0, dict[Hashable, int]()
    for begin, size in tensors:
        taken += size
        distinct[begin] = max(size, distinct.get(begin, 0))
    if total is not None and total not in (taken, sum(distinct.values())):
        raise CorruptWeightsError(
            f"{path} says that all tensors take {total!r:.40} bytes together, but they take {taken}."
        )
