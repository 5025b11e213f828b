"""Write a saved directory.

A new directory appears complete, by one rename.  Over an existing one all files are staged and synced, and then listed
in a journal, whose rename counts for all: readers find the set of before or the new one whenever the process is killed.
Other libraries do not read journals; for them the files are renamed at once, the weights last and the manifest after
them.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve

from registry.errors import SaveError, warn
from registry.files.atomic import (
    Writer,
    content_writer,
    locked,
    replace_file,
    write_directory,
    write_new,
)
from registry.files.digests import FileDigest
from registry.files.filenames import (
    GENERATION_CONFIG_NAME,
    MANIFEST_NAME,
    SENTENCE_MODULES_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAMES,
    VOCABULARY_NAMES,
    WEIGHTS_ENDINGS,
)
from registry.files.foreign import is_left, is_rewritten
from registry.files.paths import list_directory
from registry.formatting import first_of
from registry.saving.manifest import Manifest, read_manifest
from registry.saving.replace import refuse_unfit, replace_files, settle


def write_folder(directory: str | Path, writers: Mapping[str, Writer], *, about: Mapping[str, Any]) -> Path:
    """Write a saved directory.

    What was saved is what loads.  Other files of weights in the formats that are written here are removed, defaults of
    generation, and the files of another tokenizer where one is written, whatever library left them.  A warning names
    weights of other formats and modules of sentence-transformers, which stay.

    Args:
        directory: The directory, new or existing.
        writers: The writer of each file by its name, in the order of writing: weights last.  A name may have a
            directory before a slash.
        about: What the manifest says of the model.

    Returns:
        The directory, links resolved.

    Raises:
        SaveError: Anything failed.  The files of before are then intact, and no temporary is left; or else the message
            says which files are new, and the directory counts as saved.
    """
    target = Path(os.path.realpath(directory))
    with _os_errors_as_save_errors(target):
        if target.exists() and not target.is_dir():
            raise SaveError(f"{target} is a file, where a directory is to be saved.")
        with locked(target):
            settle(target)
        if not target.is_dir() or not any(target.iterdir()):
            try:
                _write_new(target, writers, about)
            except FileExistsError:  # another process saved there meanwhile
                pass
            else:
                return target
        _write_over(target, writers, about)
    return target


def write_files(directory: str | Path, writers: Mapping[str, Writer]) -> list[Path]:
    """Write some files of a directory, which all appear at one moment; the manifest lists them, where there is one.

    What another tokenizer left is removed, where they are those of one.

    Args:
        directory: The directory, which is made if it is missing.
        writers: The writer of each file by its name.

    Returns:
        The paths of the files, links resolved.

    Raises:
        SaveError: As ``write_folder`` does.
    """
    target = Path(os.path.realpath(directory))

    def manifest(files: dict[str, FileDigest]) -> Manifest | None:
        previous = _manifest_of(target)
        if previous is None:
            return None
        stale = {path.name for path in _stale_of_tokenizer(target, writers)}
        kept = {name: digest for name, digest in previous.files.items() if name not in stale}
        return evolve(previous, files={**kept, **files})

    with _os_errors_as_save_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        with locked(target):
            settle(target)
        replace_files(target, writers, manifest, lambda: _stale_of_tokenizer(target, writers))
    return [Path(os.path.realpath(target / name)) for name in writers]


def write_file(path: str | Path, writer: Writer) -> Path:
    """Write one file so that it is old or new, and never torn; its directory is made if it is missing.

    Args:
        path: The file; a link is followed.
        writer: Writes a file to the path it is given.

    Returns:
        The path, links resolved.

    Raises:
        SaveError: The file could not be written; the file of before is then intact.
    """
    target = Path(os.path.realpath(path))
    with _os_errors_as_save_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        refuse_unfit([target])
        replace_file(target, writer)
    return target


def _write_new(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    def fill(new: Path) -> None:
        for name, writer in writers.items():
            (new / name).parent.mkdir(exist_ok=True)
            write_new(new / name, writer)
        manifest = Manifest(files={name: FileDigest.of(new / name) for name in writers}, about=about)
        write_new(new / MANIFEST_NAME, content_writer(manifest.to_json()))

    target.parent.mkdir(parents=True, exist_ok=True)
    write_directory(target, fill)


def _write_over(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    def stale() -> list[Path]:
        return _stale(target, _manifest_of(target), writers)

    refuse_unfit(stale())
    replace_files(target, writers, lambda files: Manifest(files=files, about=about), stale)
    _warn_of_foreign(target)
    if SENTENCE_MODULES_NAME not in writers:
        _warn_of_modules(target)


def _manifest_of(directory: Path) -> Manifest | None:
    path = directory / MANIFEST_NAME
    return read_manifest({MANIFEST_NAME: path} if path.is_file() else {})


def _stale(target: Path, previous: Manifest | None, writers: Collection[str]) -> list[Path]:
    """The files of before that would count: weights that the previous manifest lists or that have a format written
    here, defaults of generation, and what another tokenizer left.
    """
    listed = previous.files if previous else ()
    return [
        path
        for path in list_directory(target)
        if path.name not in writers
        and (
            is_rewritten(path.name)
            or path.name == GENERATION_CONFIG_NAME
            or (path.name in listed and _is_weights(path.name))
        )
    ] + _stale_of_tokenizer(target, writers)


def _stale_of_tokenizer(target: Path, written: Collection[str]) -> list[Path]:
    """Files that another tokenizer left where one is written: they would be read in place of its own, or added."""
    if TOKENIZER_CONFIG_NAME not in written:
        return []
    names = {*TOKENIZER_NAMES, *VOCABULARY_NAMES} - {*written}
    return [path for path in list_directory(target) if path.name in names]


def _warn_of_foreign(target: Path) -> None:
    """Warn about weights in formats that are not written here: nothing reads them now, but other programs may."""
    foreign = [path.name for path in list_directory(target) if is_left(path.name)]
    if foreign:
        warn(
            f"{target} still holds {first_of(foreign)}, which are not what was saved: registry.load reads what was "
            f"saved, but another library may read them. Remove them if they are not meant."
        )


def _warn_of_modules(target: Path) -> None:
    """Warn about modules of sentence-transformers: they may be those of this model, or of another one."""
    if (target / SENTENCE_MODULES_NAME).exists():
        warn(
            f"{target} still holds {SENTENCE_MODULES_NAME} of sentence-transformers, which decides how texts are "
            f"embedded. Remove it if it is another model's."
        )


def _is_weights(name: str) -> bool:
    """Whether a file of a saved directory holds weights, or the index of a sharded set; always a plain file name."""
    return name == os.path.basename(name) and name.endswith(WEIGHTS_ENDINGS)  # noqa: PTH119  # Path drops a slash at the end


@contextmanager
def _os_errors_as_save_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except SaveError:
        raise
    except OSError as problem:
        error = SaveError(
            f"{target} could not be written: {problem.strerror or problem}.", hint="What was there before is intact."
        )
        error.errno = problem.errno
        raise error from problem
