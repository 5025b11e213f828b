"""Write a saved directory.

A new directory appears complete, by one rename.  Over an existing one every file is old or new and none is torn: each
is written to a temporary next to its target and synced, then all are renamed, the weights last and the manifest after
them.  A crash between two renames is visible, because sizes then disagree with the manifest; where there was none, the
new manifest is therefore renamed first.
"""

import os
import stat
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from registry.errors import RegistryWarning, SaveError
from registry.files.atomic import (
    Writer,
    content_writer,
    list_directory,
    remove_stale,
    rename,
    replace_file,
    sync_directory,
    sync_file,
    temporaries_of,
    temporary_path,
    write_directory,
    write_new,
)
from registry.files.digests import FileDigest
from registry.files.filenames import MANIFEST_NAME, TOKENIZER_CONFIG_NAME, TOKENIZER_NAMES
from registry.files.foreign import is_left, is_rewritten
from registry.formatting import first_of
from registry.saving.manifest import Manifest, read_manifest


def write_folder(directory: str | Path, writers: Mapping[str, Writer], *, about: Mapping[str, Any]) -> Path:
    """Write a saved directory.

    What was saved is what loads: other files of weights in the formats that are written here are removed, and of a
    tokenizer, where one is written, whatever library left them; a warning names weights of other formats, which stay.

    Args:
        directory: The directory, new or existing.
        writers: The writer of each file by its name, in the order of writing: weights last.
        about: What the manifest says of the model.

    Returns:
        The directory, links resolved.

    Raises:
        SaveError: Anything failed; the files of before are then intact, and no temporary is left.
    """
    target = Path(os.path.realpath(directory))
    with _os_errors_as_save_errors(target):
        if target.exists() and not target.is_dir():
            raise SaveError(f"{target} is a file, where a directory is to be saved.")
        with suppress(OSError):
            remove_stale(temporaries_of(target))
        if not target.is_dir() or not any(target.iterdir()):
            try:
                _write_new(target, writers, about)
            except FileExistsError:  # another process saved there meanwhile
                pass
            else:
                return target
        _write_over(target, writers, about)
    return target


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
        _refuse_unfit([target])
        replace_file(target, writer)
    return target


def write_tokenizer(directory: str | Path, writers: Mapping[str, Writer]) -> list[Path]:
    """Write the files of a tokenizer, each complete, and remove those that another one left.

    Args:
        directory: The directory, new or existing.
        writers: The writer of each file by its name.

    Returns:
        The paths, links resolved.

    Raises:
        SaveError: A file could not be written.
    """
    written = [write_file(Path(directory, name), writer) for name, writer in writers.items()]
    with _os_errors_as_save_errors(Path(directory)):
        for path in _stale_of_tokenizer(Path(directory), writers):
            path.unlink(missing_ok=True)
    return written


def _write_new(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    def fill(new: Path) -> None:
        for name, writer in writers.items():
            write_new(new / name, writer)
        write_new(new / MANIFEST_NAME, _manifest_writer({name: new / name for name in writers}, about))

    target.parent.mkdir(parents=True, exist_ok=True)
    write_directory(target, fill)


def _write_over(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    manifest = target / MANIFEST_NAME
    previous = read_manifest({MANIFEST_NAME: manifest} if manifest.is_file() else {})
    targets = {name: Path(os.path.realpath(target / name)) for name in (*writers, MANIFEST_NAME)}
    _refuse_unfit([*targets.values(), *_stale(target, previous, writers)])
    new = {name: temporary_path(path) for name, path in targets.items()}

    def write(name: str, writer: Writer) -> None:
        write_new(new[name], writer, mode_of=targets[name])
        sync_file(new[name])

    try:
        for name, writer in writers.items():
            write(name, writer)
        write(MANIFEST_NAME, _manifest_writer({name: new[name] for name in writers}, about))
        with _exclusive(target):
            if previous is None:
                rename(new[MANIFEST_NAME], targets[MANIFEST_NAME])
            for name in writers:
                rename(new[name], targets[name])
            for path in _stale(target, previous, writers):
                path.unlink(missing_ok=True)
            if previous is not None:
                rename(new[MANIFEST_NAME], targets[MANIFEST_NAME])
    finally:
        for path in new.values():
            path.unlink(missing_ok=True)
    for directory in {path.parent for path in targets.values()}:
        sync_directory(directory)
    _warn_of_foreign(target)


def _stale(target: Path, previous: Manifest | None, writers: Collection[str]) -> list[Path]:
    """The files of before that would count: weights that the previous manifest lists or that have a format written
    here, and what another tokenizer left.
    """
    listed = previous.files if previous else ()
    return [
        path
        for path in list_directory(target)
        if path.name not in writers and (is_rewritten(path.name) or (path.name in listed and _is_weights(path.name)))
    ] + _stale_of_tokenizer(target, writers)


def _stale_of_tokenizer(target: Path, written: Collection[str]) -> list[Path]:
    """Files that another tokenizer left where one is written: their tokens would be added to its own."""
    if TOKENIZER_CONFIG_NAME not in written:
        return []
    return [path for path in list_directory(target) if path.name in TOKENIZER_NAMES and path.name not in written]


def _warn_of_foreign(target: Path) -> None:
    """Warn of weights in formats that are not written here: nothing reads them now, but other programs may."""
    foreign = [path.name for path in list_directory(target) if is_left(path.name)]
    if foreign:
        warnings.warn(
            f"{target} still holds {first_of(foreign)}, which are not what was saved: registry.load reads what was "
            f"saved, but another library may read them. Remove them if they are not meant.",
            RegistryWarning,
            stacklevel=5,
        )


def _manifest_writer(paths: Mapping[str, Path], about: Mapping[str, Any]) -> Writer:
    files = {name: FileDigest.of(path) for name, path in paths.items()}
    return content_writer(Manifest(files=files, about=about).to_json())


def _is_weights(name: str) -> bool:
    """Whether a file of a saved directory holds weights, or the index of a sharded set; always a plain file name."""
    return name == os.path.basename(name) and name.endswith((".safetensors", ".bin", ".index.json"))  # noqa: PTH119


def _refuse_unfit(targets: Iterable[Path]) -> None:
    """Raise SaveError for what a file cannot or should not replace: directories, devices, read-only files."""
    for target in targets:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG | stat.S_IWUSR
        if stat.S_ISDIR(mode):
            raise SaveError(f"{target} is a directory, where a file is to be saved.")
        if not stat.S_ISREG(mode):
            raise SaveError(f"{target} is no ordinary file, and is not replaced by one.")
        if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise SaveError(
                f"{target} is read-only.", hint=f"Make it writable (chmod u+w {target}), or save elsewhere."
            )


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Let processes that save into one directory rename their files in turn, so that the last set is complete.

    Where locks do not work, or do nothing, sets may mix; then sizes or digests disagree with the manifest.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl  # there is none on Windows, which has no handles of directories either

            handle = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
