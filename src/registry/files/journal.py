"""The journal of a save over an existing directory: files that get their names one after another, and count as one.

A save writes its files into a staging directory, then the journal, then renames the files, and removes the journal.
The journal is the moment that counts: before it is there, the directory holds what it held; from then on it holds what
the journal lists, whether a file has its name yet or waits in the staging directory.  Who finds a journal reads so, and
the next save first finishes what the journal lists.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen, validators

from registry.errors import ConfigError, IntegrityError
from registry.files.atomic import (
    STAGING,
    content_writer,
    is_staging,
    locked,
    rename,
    sync_directory,
    sync_file,
    temporary_path,
    write_new,
)
from registry.files.digests import FileDigest, sha256_of
from registry.files.filenames import (
    GENERATION_CONFIG_NAME,
    JOURNAL_NAME,
    TOKENIZER_NAMES,
    VOCABULARY_NAMES,
    WEIGHTS_ENDINGS,
)
from registry.files.strict_json import read_json_object
from registry.formatting import first_of

SCHEMA = 1
MOST_FILES = 5_000
"""Files of a save; each is looked for in several directories."""
LONGEST_NAME = 255
"""Bytes of the name of a file, on most disks."""
PATIENCE = 10.0
"""Seconds to wait for a save that gives its files their names, which takes some milliseconds."""


@frozen
class StagedFile:
    """A file as it was staged."""

    digest: FileDigest
    mtime_ns: int = field(validator=validators.instance_of(int))
    """Its modification time; a file with another one is hashed."""

    @classmethod
    def of(cls, path: Path) -> "StagedFile":
        """The file at a path, whose bytes are read.  Raises OSError."""
        return StagedFile(FileDigest.of(path), path.stat().st_mtime_ns)

    @classmethod
    def from_json(cls, keys: Mapping[str, Any]) -> "StagedFile":
        """The file that ``to_json`` wrote; raises what ``FileDigest.from_json`` raises."""
        return StagedFile(FileDigest.from_json(keys), keys["mtime_ns"])

    def to_json(self) -> dict[str, Any]:
        """The file as a JSON object."""
        return {**self.digest.to_json(), "mtime_ns": self.mtime_ns}

    def is_at(self, path: Path) -> bool:
        """Whether a path has this very file, or an equal one."""
        try:
            status = path.stat()
            if status.st_size != self.digest.size:
                return False
            return status.st_mtime_ns == self.mtime_ns or sha256_of(path) == self.digest.sha256
        except OSError:
            return False


@frozen(kw_only=True)
class Journal:
    """The files of a save, all of which were staged and synced."""

    directory: Path
    """The directory that is saved over."""
    staging: str
    """The name of the staging directory: in the directory, and for a link in the one to which it leads."""
    files: Mapping[str, StagedFile]
    """The files by name, in the order in which they get their names."""
    removed: tuple[str, ...] = ()
    """Names of files that go away, which the model that was there before left."""

    @property
    def path(self) -> Path:
        """The path of the journal."""
        return self.directory / JOURNAL_NAME

    def staged(self, name: str) -> Path:
        """The path of a file in its staging directory, whether it is still there or has its name."""
        return staged_path(self.directory / name, self.staging)

    def waiting(self) -> list[str]:
        """The names of files that are still staged."""
        return [name for name in self.files if self.staged(name).exists()]

    def lost(self) -> list[str]:
        """The names of files that are neither staged nor in their places."""
        return [name for name, file in self.files.items() if self._path_of(name, file) is None]

    # --- Writing

    def begin(self) -> None:
        """Write the journal: from now on its files are those of the directory.  Raises OSError."""
        for staging in self._stagings():
            sync_directory(staging)
        keys = {
            "schema": SCHEMA,
            "staging": self.staging,
            "files": {name: file.to_json() for name, file in self.files.items()},
            "removed": self.removed,
        }
        staged = self.directory / self.staging / JOURNAL_NAME
        write_new(staged, content_writer(json.dumps(keys, indent=2) + "\n"))
        sync_file(staged)
        sync_directory(staged.parent)
        rename(staged, self.path)
        sync_directory(self.directory)

    def finish(self) -> None:
        """Give every file its name, and remove the journal; can be repeated after an error, or by another process.

        Raises:
            OSError: The disk refused.
        """
        for name in self.files:
            with suppress(FileNotFoundError):  # it has its name
                rename(self.staged(name), Path(os.path.realpath(self.directory / name)))
        for name in self.removed:
            (self.directory / name).unlink(missing_ok=True)
        for staging in self._stagings():
            sync_directory(staging.parent)
        self.path.unlink(missing_ok=True)
        for staging in self._stagings():
            shutil.rmtree(staging, ignore_errors=True)
        sync_directory(self.directory)

    def _stagings(self) -> set[Path]:
        return {self.directory / self.staging, *(self.staged(name).parent for name in self.files)}

    # --- Reading

    def paths(self, found: Mapping[str, Path]) -> dict[str, Path]:
        """The files of the directory by name, of which ``found`` have theirs.

        Raises:
            IntegrityError: Files of the save are lost.
        """
        saved = {name: self._path_of(name, file) for name, file in self.files.items()}
        if lost := [name for name, path in saved.items() if path is None]:
            raise IntegrityError(
                f"saving into {self.directory} was interrupted, and its files {first_of(lost)} are missing.",
                hint=f"Save the model again; or remove {JOURNAL_NAME}, if the files that are there are of one model.",
            )
        kept = {name: path for name, path in found.items() if name not in self.removed}
        return dict(sorted({**kept, **{name: path for name, path in saved.items() if path is not None}}.items()))

    def _path_of(self, name: str, file: StagedFile) -> Path | None:
        """Where a file is; one that is not staged any more must have its name."""
        staged, path = self.staged(name), self.directory / name
        if staged.is_file():
            return staged if staged.stat().st_size == file.digest.size else None
        return path if file.is_at(path) else None


def staged_path(path: Path, staging: str) -> Path:
    """Where a file is staged that is to replace ``path``, or what that leads to: on the same disk."""
    target = Path(os.path.realpath(path))
    return target.parent / staging / target.name


def staging_name() -> str:
    """The name of a new staging directory."""
    return temporary_path(Path(STAGING)).name


def read_journal(directory: Path) -> Journal | None:
    """The journal of a directory; None where there is none.

    Raises:
        ConfigError: It is damaged.
    """
    path = directory / JOURNAL_NAME
    if not path.is_file():
        return None
    keys = read_json_object(path)
    try:
        files = {_inside(name): StagedFile.from_json(entry) for name, entry in keys["files"].items()}
        removed = tuple(name for name in map(_plain, keys["removed"]) if _may_go(name))
        if len(files) + len(removed) > MOST_FILES:
            raise ValueError(f"there are more than {MOST_FILES:,} files")
        if not is_staging(keys["staging"]):
            raise ValueError("the staging directory has another name than any that is made")
        return Journal(directory=directory, staging=keys["staging"], files=files, removed=removed)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ConfigError(
            f"{path} is not a journal of a save.",
            hint=f"Remove {JOURNAL_NAME} if the files next to it are of one model.",
        ) from problem


@contextmanager
def settled(directory: Path) -> Iterator[Journal | None]:
    """The journal of a directory to which no process gives names meanwhile; None where the last one finished.

    Raises:
        IntegrityError: A process did not finish in ``PATIENCE`` seconds.
        ConfigError: The journal is damaged.
    """
    with locked(directory, shared=True, patience=PATIENCE) as held:
        journal = read_journal(directory)
        if journal is not None and held is False:
            raise IntegrityError(f"{directory} is being overwritten by another process.", hint="Load it again later.")
        yield journal


def _may_go(name: str) -> bool:
    """Whether saving removes files of this name: of other weights, of another tokenizer, or of another model's use."""
    return name.endswith(WEIGHTS_ENDINGS) or name in (*TOKENIZER_NAMES, *VOCABULARY_NAMES, GENERATION_CONFIG_NAME)


def _inside(name: Any) -> str:
    """A name of a file in the directory itself, or in a subdirectory of it."""
    for part in name.split("/", maxsplit=1):
        _plain(part)
    return str(name)


def _plain(name: Any) -> str:
    """A name of a file in the directory itself."""
    if not isinstance(name, str) or not {"\\", "\0"}.isdisjoint(name) or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not a name of a file")
    if name != os.path.basename(name) or len(os.fsencode(name)) > LONGEST_NAME:  # noqa: PTH119  # Path drops a slash at the end
        raise ValueError(f"{name!r} is not a name of a file")
    return name
