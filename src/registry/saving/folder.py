"""The saved folder: what its files are called, in which order they are written, and the manifest that vouches for them.

A new folder appears whole, by one rename.  Over an existing folder every file is old or new and none is torn: each is
written to a temporary beside its target and synced, then all are renamed, the weights last and the manifest after
them.  A crash between two renames is visible, because sizes then disagree with the manifest.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from registry.errors import ConfigError, IntegrityError, RegistryWarning, SaveError
from registry.files.atomic import sync_directory, temporary_beside
from registry.files.strict_json import read_json_object
from registry.records import Paths
from registry.saving.writing import (
    Writer as Writer,  # whoever saves a folder needs both
)
from registry.saving.writing import alone_in, refuse_unfit, sweep, write_synced
from registry.sources.files import collect
from registry.sources.resolve import resolve

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "pytorch_model.bin"
WEIGHTS_INDEX_NAME = "pytorch_model.bin.index.json"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
MANIFEST_NAME = "registry.json"

MANIFEST_SCHEMA = 1

# --- The manifest -----------------------------------------------------------------------------------------------------


@frozen
class FileEntry:
    """Size in bytes and sha256 of one saved file."""

    size: int
    sha256: str


@frozen(kw_only=True)
class Manifest:
    """What ``registry.json`` says of a saved folder."""

    files: Mapping[str, FileEntry]
    """Every file of the folder but the manifest itself."""
    about: Mapping[str, Any] = field(factory=dict)
    """Origin, architecture, task and versions."""

    def disagreements(self, paths: Paths) -> list[str]:
        """Files which are missing, or whose size is another than the manifest says."""
        return [name for name, entry in self.files.items() if name not in paths or _size(paths[name]) != entry.size]


def read_manifest(paths: Paths) -> Manifest | None:
    """The manifest among ``paths``; None when there is none.  Raises ConfigError when it is damaged."""
    path = paths.get(MANIFEST_NAME)
    if path is None:
        return None
    keys = read_json_object(path)
    try:
        files = {
            str(name): FileEntry(int(entry["size"]), str(entry["sha256"])) for name, entry in keys["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ConfigError(
            f"{path} is no manifest of a saved folder: it lists no sizes and digests under 'files'.",
            hint=f"Remove {MANIFEST_NAME} if the folder was not written by this library.",
        ) from problem
    return Manifest(files=files, about={key: value for key, value in keys.items() if key != "files"})


def warn_of_disagreements(paths: Paths) -> None:
    """Warn of files that are not as the manifest says: a save was interrupted, or files were changed since."""
    manifest = read_manifest(paths)
    changed = [] if manifest is None else manifest.disagreements(paths)
    if changed:
        warnings.warn(
            f"{', '.join(changed)} in {paths[MANIFEST_NAME].parent} differ in size from what {MANIFEST_NAME} says: "
            f"saving was interrupted, or they were changed since. Save the model again to settle it.",
            RegistryWarning,
            stacklevel=4,
        )


def digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def verify(name_or_dir: str | Path) -> dict[str, str]:
    """Hash every file of a saved folder, or of a named model, and compare it with the digest that was promised.

    A promise is what a folder's manifest or a model's card says, else what was noted when the file was first used.
    Nothing is fetched.  Returns what became of each file: ``"ok"``, or ``"no digest known"``.  Raises IntegrityError,
    which names every file that differs or is missing, and MissingFileError when there is nothing to verify.
    """
    resolution = resolve(name_or_dir)
    paths = collect(resolution, offline=True)
    manifest = read_manifest(paths)
    promised: dict[str, str | None] = dict.fromkeys(paths)
    promised.pop(MANIFEST_NAME, None)
    if manifest is not None:
        promised.update({name: entry.sha256 for name, entry in manifest.files.items()})
    promised.update(_noted(paths))
    if resolution.card is not None:
        known = {file.filename: file.sha256 for file in resolution.card.files if file.sha256}
        promised.update({name: sha256 for name, sha256 in known.items() if name in paths})
    found = {name: digest(paths[name]) if name in paths else "missing" for name, sha in promised.items() if sha}
    bad = [
        f"{name} is {'missing' if sha == 'missing' else 'changed'}"
        for name, sha in found.items()
        if sha != promised[name]
    ]
    if bad:
        raise IntegrityError(
            f"{resolution} is not what was promised: {'; '.join(bad)}.",
            hint="Compared were sha256 digests. Fetch or save the model again.",
        )
    return {name: "ok" if sha else "no digest known" for name, sha in promised.items()}


def _noted(paths: Paths) -> dict[str, str]:
    """The digests that the cache noted of its files."""
    from registry.cache.cache import Cache
    from registry.cache.provenance import recorded

    cache = Cache.at()
    entries = list(cache.entries())
    noted = {name: recorded(path, cache, entries) for name, path in paths.items()}
    return {name: found[2] for name, found in noted.items() if found is not None}


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_folder(directory: str | Path, writers: Mapping[str, Writer], *, about: Mapping[str, Any]) -> Path:
    """Write a saved folder: each file by its writer, in the order given (weights last), then the manifest.

    Weight files which the previous manifest lists and the new one does not are removed.  Raises SaveError when
    anything fails; what was in the folder before is then intact, and no temporary file is left.
    """
    target = Path(os.path.realpath(directory))
    with _as_save_error(target):
        if target.exists() and not target.is_dir():
            raise SaveError(f"{target} is a file, where a folder is to be saved.")
        sweep(target)
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
    """Write one file so that it is old or new, and never torn.  Raises SaveError."""
    target = Path(os.path.realpath(path))
    with _as_save_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        refuse_unfit([target])
        temporary = temporary_beside(target)
        try:
            write_synced(temporary, writer, like=target)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(target.parent)
    return target


def _write_new(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    temporary.mkdir()
    try:
        for name, writer in writers.items():
            write_synced(temporary / name, writer)
        entries = {name: _entry(temporary / name) for name in writers}
        write_synced(temporary / MANIFEST_NAME, _manifest_writer(entries, about))
        sync_directory(temporary)
        _rename_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_directory(target.parent)


def _write_over(target: Path, writers: Mapping[str, Writer], about: Mapping[str, Any]) -> None:
    previous = read_manifest({MANIFEST_NAME: target / MANIFEST_NAME} if (target / MANIFEST_NAME).is_file() else {})
    places = {name: Path(os.path.realpath(target / name)) for name in (*writers, MANIFEST_NAME)}
    refuse_unfit(places.values())
    temporaries = {name: temporary_beside(place) for name, place in places.items()}
    try:
        for name, writer in writers.items():
            write_synced(temporaries[name], writer, like=places[name])
        entries = {name: _entry(temporaries[name]) for name in writers}
        write_synced(temporaries[MANIFEST_NAME], _manifest_writer(entries, about), like=places[MANIFEST_NAME])
        with alone_in(target):
            for name in writers:
                temporaries[name].replace(places[name])
            for name in set(previous.files if previous else ()) - set(writers):
                if _is_weights(name):
                    (target / name).unlink(missing_ok=True)
            temporaries[MANIFEST_NAME].replace(places[MANIFEST_NAME])
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    sync_directory(target)


def _rename_folder(temporary: Path, target: Path) -> None:
    """Give a new folder its name.  Raises FileExistsError where there is a folder with files of that name."""
    try:
        temporary.rename(target)
    except OSError as problem:
        if target.is_dir() and any(target.iterdir()):
            raise FileExistsError(f"{target} exists.") from problem
        raise


def _is_weights(name: str) -> bool:
    """Whether a file of a saved folder holds weights, or the index of a sharded set; always a plain file name."""
    return name == os.path.basename(name) and name.endswith((".safetensors", ".bin", ".index.json"))  # noqa: PTH119


def _manifest_writer(entries: Mapping[str, FileEntry], about: Mapping[str, Any]) -> Writer:
    files = {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in entries.items()}
    return text_writer(json.dumps({"schema": MANIFEST_SCHEMA, **about, "files": files}, indent=2) + "\n")


def text_writer(text: str) -> Writer:
    """A writer of UTF-8 text with line ends as they stand."""
    return content_writer(text)


def content_writer(content: str | bytes) -> Writer:
    """A writer of bytes, or of UTF-8 text with line ends as they stand."""

    def write(path: Path) -> None:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)

    return write


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.stat().st_size, digest(path))


@contextmanager
def _as_save_error(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if isinstance(problem, SaveError):
            raise
        error = SaveError(
            f"{target} could not be written: {problem.strerror or problem}.", hint="What was there before is intact."
        )
        error.errno = problem.errno
        raise error from problem
