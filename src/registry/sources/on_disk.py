"""Sources on this disk: a directory, a file, a TensorFlow checkpoint, an archive."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from registry.download.policy import Policy
from registry.errors import FetchError
from registry.files.filenames import INDEX_SUFFIX, JOURNAL_NAME, MANIFEST_NAME
from registry.files.paths import list_directory
from registry.records import Paths
from registry.sources.source import Roles, Source

MOST_NAMES = 1000
"""Names of a directory that are looked at, where it holds no model."""


@frozen(kw_only=True)
class LocalSource(Source):
    """A path on this disk: the base of the sources in this module, which add no field and so need no decorator."""

    path: Path

    def urls(self) -> Iterator[str]:
        """The ``file:`` URL of its path."""
        yield self.path.resolve().as_uri()


class DirectorySource(LocalSource):
    """A directory; its files are given whatever the roles, without those of its subdirectories."""

    __slots__ = ()

    kind: ClassVar[str] = "directory"
    noun: ClassVar[str] = "directory"
    in_place: ClassVar[bool] = True

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """All files of the directory."""
        return files_at(self.path)

    def names(self, policy: Policy) -> list[str]:  # noqa: ARG002
        """The names of its files, and of those of its subdirectories."""
        return names_below(self.path)

    def find(self, name: str, policy: Policy) -> Path | None:  # noqa: ARG002
        """A file of the directory or of one inside of it."""
        path = self.path / name
        inside = path.is_relative_to(self.path) and ".." not in Path(name).parts
        with suppress(OSError):  # of a name that is too long
            return path if inside and path.is_file() else None
        return None

    def generation(self) -> object:
        """Which manifest and which journal of a save are there."""
        return tuple(_identity(self.path / name) for name in (MANIFEST_NAME, JOURNAL_NAME))

    def inside(self, subdirectory: str) -> str:
        """The path of a subdirectory."""
        return str(self.path / subdirectory)


class FileSource(LocalSource):
    """A single file; it is given whatever the roles."""

    __slots__ = ()

    kind: ClassVar[str] = "file"
    noun: ClassVar[str] = "file"
    in_place: ClassVar[bool] = True

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """The file itself."""
        return {self.path.name: self.path}

    def directory_with(self, names: Iterable[str]) -> Path | None:
        """Its directory, where a file of one of these names is next to it."""
        directory = self.path.parent
        return directory if any((directory / name).is_file() for name in names) else None


class CheckpointSource(LocalSource):
    """A TensorFlow checkpoint; ``path`` is its prefix, mostly the name of no file."""

    __slots__ = ()

    kind: ClassVar[str] = "checkpoint"
    noun: ClassVar[str] = "checkpoint"

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """The files of the checkpoint for the role ``weights`` alone, else all files next to them."""
        siblings = files_at(self.path.parent)
        if roles is None or set(roles) != {"weights"}:
            return siblings
        prefix = self.path.name
        starts = f"{prefix}{INDEX_SUFFIX}", f"{prefix}.data-"
        return {name: path for name, path in siblings.items() if name == prefix or name.startswith(starts)}


class ArchiveSource(LocalSource):
    """An archive (tar.gz, tgz or zip); its files are unpacked into the cache, and given whatever the roles."""

    __slots__ = ()

    kind: ClassVar[str] = "archive"
    noun: ClassVar[str] = "archive"

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """All files of the archive."""
        from registry.archives.unpacked import of_local_archive  # and with it the cache

        return of_local_archive(self.path, policy)


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def names_below(directory: Path) -> list[str]:
    """The names of the first files in a directory and in its subdirectories, those of a subdirectory with a ``/``."""
    names: list[str] = []
    for entry in list_directory(directory):
        inner = [entry] if not entry.is_dir() else list_directory(entry)[:MOST_NAMES]
        names += [path.relative_to(directory).as_posix() for path in inner if path.is_file()]
    return names[:MOST_NAMES]


def files_at(path: Path) -> Paths:
    """The file at a path, or all files of the directory there: those that were saved last, wherever they still are.

    Raises:
        FetchError: The directory cannot be read.
        IntegrityError: Saving into it was interrupted, and files are lost; or it does not end.
    """
    if path.is_file():
        return {path.name: path}
    found = _listed(path)
    if JOURNAL_NAME not in found:
        return found
    from registry.files.journal import settled  # rarely needed

    with settled(path) as journal:
        found = _listed(path)
        return found if journal is None else journal.paths(found)


def _listed(path: Path) -> dict[str, Path]:
    try:
        return {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    except OSError as problem:
        raise FetchError(f"the directory {str(path)!r} cannot be read: {problem.strerror}.") from problem
