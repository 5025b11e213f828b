"""Replace files of a directory at one moment: they are staged, listed in a journal, and renamed."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from registry.errors import SaveError
from registry.files.atomic import (
    Writer,
    content_writer,
    is_staging,
    locked,
    locked_new_directory,
    remove_dead,
    remove_stale,
    sync_file,
    temporaries_of,
    write_new,
)
from registry.files.digests import FileDigest
from registry.files.filenames import MANIFEST_NAME
from registry.files.journal import Journal, StagedFile, read_journal, staged_path, staging_name
from registry.files.paths import list_directory
from registry.formatting import first_of
from registry.saving.manifest import Manifest


def replace_files(
    target: Path,
    writers: Mapping[str, Writer],
    manifest: Callable[[dict[str, FileDigest]], Manifest | None],
    stale: Callable[[], list[Path]],
) -> None:
    """Write files of a directory, and its manifest, and remove stale ones: all of that at one moment."""
    names = (*writers, MANIFEST_NAME)
    refuse_unfit(Path(os.path.realpath(target / name)) for name in names)
    with _staging(target, names) as staging:

        def write(name: str, writer: Writer) -> StagedFile:
            path = staged_path(target / name, staging)
            write_new(path, writer, mode_of=target / name)
            sync_file(path)
            return StagedFile.of(path)

        files = {name: write(name, writer) for name, writer in writers.items()}
        with locked(target):  # so that of two sets that are saved at once the last is complete
            settle(target)
            listed = manifest({name: file.digest for name, file in files.items()})
            if listed is not None:
                files[MANIFEST_NAME] = write(MANIFEST_NAME, content_writer(listed.to_json()))
            removed = tuple(path.name for path in stale())
            _commit(Journal(directory=target, staging=staging, files=files, removed=removed))


def settle(target: Path) -> None:
    """Finish a save that was interrupted, where all its files are there, and remove what dead processes left."""
    journal = read_journal(target)
    if journal is not None and not journal.lost():
        try:
            journal.finish()
        except OSError as problem:
            raise _unfinished(journal, problem) from problem
    remove_dead(temporaries_of(target))


@contextmanager
def _staging(target: Path, names: Iterable[str]) -> Iterator[str]:
    """The name of a new staging directory, which is removed unless a journal refers to it."""
    staging = staging_name()
    directories = dict.fromkeys([target / staging, *(staged_path(target / name, staging).parent for name in names)])
    with ExitStack() as stack:
        for directory in directories:
            if directory.parent != target:  # those of other journals may lie there, too
                directory.parent.mkdir(exist_ok=True)
                with suppress(OSError):
                    remove_stale(path for path in list_directory(directory.parent) if is_staging(path.name))
            stack.enter_context(locked_new_directory(directory))
        try:
            yield staging
        finally:
            journal = read_journal(target)
            if journal is None or journal.staging != staging:
                for directory in directories:
                    shutil.rmtree(directory, ignore_errors=True)


def _commit(journal: Journal) -> None:
    """Make the staged files those of the directory."""
    journal.begin()
    try:
        journal.finish()
    except OSError as problem:
        if not _withdrawn(journal):
            raise _unfinished(journal, problem) from problem
        raise


def _withdrawn(journal: Journal) -> bool:
    """Remove a journal none of whose files has its name: then it is as if nothing had been saved."""
    if len(journal.waiting()) < len(journal.files):
        return False
    with suppress(OSError):
        journal.path.unlink()
    return not journal.path.exists()


def _unfinished(journal: Journal, problem: OSError) -> SaveError:
    """The error for a save that could not give all its files their names; it says which have them."""
    waiting = journal.waiting()
    new = first_of(name for name in journal.files if name not in waiting)
    error = SaveError(
        f"Saving into {journal.directory} could not be finished: {problem.strerror or problem}. "
        f"New are {new or 'no files'}; still to be replaced are {first_of(waiting) or 'no files'}.",
        hint="registry.load reads what was saved, from where it is. To save again finishes it; until then, other "
        "libraries may read files of two models.",
    )
    error.errno = problem.errno
    return error


def refuse_unfit(targets: Iterable[Path]) -> None:
    """Raise SaveError for what a file cannot or should not replace: directories, devices, read-only files."""
    for target in targets:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG | stat.S_IWUSR
        if stat.S_ISDIR(mode):
            raise SaveError(f"{target} is a directory, where a file is to be saved.")
        if not stat.S_ISREG(mode):
            raise SaveError(f"{target} is not an ordinary file, and is not replaced by one.")
        if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise SaveError(
                f"{target} is read-only.", hint=f"Make it writable (chmod u+w {target}), or save elsewhere."
            )
