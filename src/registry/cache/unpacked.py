"""Directories unpacked from archives, each named by the sha256 of its archive.

::

    unpacked/<sha256 of the archive>/manifest.json    name, size and sha256 of each file
    unpacked/<sha256 of the archive>/files/           the files
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from registry.cache.cache import Cache
from registry.errors import ConfigError
from registry.files.digests import FileDigest
from registry.files.strict_json import read_json_object
from registry.records import Paths

MANIFEST, FILES = "manifest.json", "files"
SCHEMA = 1


def write_manifest(directory: Path, files: Mapping[str, FileDigest]) -> None:
    """Write what ``read_manifest`` reads.  Raises OSError."""
    listed = {name: digest.to_json() for name, digest in files.items()}
    (directory / MANIFEST).write_text(json.dumps({"schema": SCHEMA, "files": listed}, indent=1) + "\n", "utf-8")


def read_manifest(directory: Path) -> dict[str, FileDigest] | None:
    """The files that the manifest of an unpacked directory lists; None when it is damaged."""
    try:
        listed = read_json_object(directory / MANIFEST)["files"]
        return {str(name): FileDigest.from_json(keys) for name, keys in listed.items()}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None


def complete_files(directory: Path) -> Paths | None:
    """The files of an unpacked directory; None unless all are there with their size."""
    listed = read_manifest(directory)
    if not listed or any(_size(directory / FILES / name) != digest.size for name, digest in listed.items()):
        return None
    return {name: directory / FILES / name for name in listed}


def discard_incomplete(digest: str, cache: Cache) -> None:
    """Remove the directory of an archive, unless it is complete by now.  Raises CacheError."""
    directory = cache.unpacked(digest)
    with cache.writing(), cache.naming(digest):
        if directory.is_dir() and complete_files(directory) is None:
            discard(directory, cache)


def discard(directory: Path, cache: Cache) -> None:
    """Remove a directory as a whole: it is renamed first, so that nobody finds half of it."""
    with cache.writing():
        going = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.tmp")
        with suppress(FileNotFoundError):  # another was faster
            directory.rename(going)
        shutil.rmtree(going, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1
