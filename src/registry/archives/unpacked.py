"""Archives of models, on this disk or on the web: unpacked when they are first used, and kept by their digest.

::

    unpacked/<sha256 of the archive>/manifest.json    name, size and sha256 of each file
    unpacked/<sha256 of the archive>/files/           the files
"""

import json
import shutil
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry import discovery
from registry.archives.members import Content
from registry.cache.cache import Cache
from registry.download import hub
from registry.download.fetch import fetch
from registry.download.policy import Policy
from registry.errors import ArchiveError, CacheError, ConfigError, CorruptArchiveError, MissingFileError
from registry.files.strict_json import read_json_object
from registry.records import ConfigSpec, Paths, WeightLoaderSpec
from registry.sources.listings import OTHER_WEIGHTS, WEIGHTS

MANIFEST, FILES = "manifest.json", "files"
SCHEMA = 1


def of_local_archive(path: Path, how: Policy) -> Paths:
    """The files of an archive on this disk.  It is hashed when it is first used, and when it has changed since.

    Raises what ``unpack`` raises, CorruptArchiveError for an archive without a model, and CacheError.
    """
    path = path.resolve()
    address = path.as_uri()
    known = how.cache.entry(address) if how.cache.find(address) == path else None
    if known is not None:
        return _unpacked(path, known.sha256, how.cache, path.name)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise MissingFileError(f"the archive {str(path)!r} cannot be read: {problem.strerror}.") from problem
    found = _unpacked(path, digest, how.cache, path.name)
    how.cache.refer(address, path, digest)
    return found


def of_web_archive(url: str, how: Policy) -> Paths:
    """The files of an archive on the web.

    Raises what ``fetch`` and ``unpack`` raise, and CorruptArchiveError for an archive without a model; such an archive
    is fetched anew the next time.
    """
    address = hub.address(url)
    path = fetch(address, how)
    entry = how.cache.entry(address)
    if entry is None:  # it is another program's, and nothing can be written here
        return of_local_archive(path, how)
    try:
        return _unpacked(path, entry.sha256, how.cache, unquote(urlsplit(address).path).rpartition("/")[2])
    except ArchiveError:
        with suppress(CacheError):
            how.cache.forget(address)
        raise


def in_role(paths: Paths, role: str, filenames: Collection[str]) -> Paths:
    """Those files of an archive which play a role; for other roles than config and weights, ``filenames`` say it."""
    if role == "config":
        names = [name for name in _config_names() if name in paths][:1]
    elif role == "weights":
        names = [name for name in paths if _may_be_weights(name)]
    else:
        names = [name for name in filenames if name in paths]
    return {name: paths[name] for name in names}


# --- Unpacking, once --------------------------------------------------------------------------------------------------


def _unpacked(archive: Path, digest: str, cache: Cache, called: str) -> Paths:
    def write(folder: Path) -> None:
        from registry.archives.unpack import unpack  # imports tarfile and zipfile, which what is unpacked does not need

        cache.sweep()
        (folder / FILES).mkdir()
        contents = unpack(archive, folder / FILES, called=called)
        _check_complete({name: folder / FILES / name for name in contents}, called)
        (folder / MANIFEST).write_text(_manifest(contents), "utf-8")

    found = _whole(cache.unpack(digest, write))
    if found is None:  # somebody removed or changed files of it
        discard(cache.home / "unpacked" / digest, cache)
        found = _whole(cache.unpack(digest, write))
    if found is None:
        raise CacheError(f"{cache.home / 'unpacked' / digest} changes while it is read.")
    return found


def contents(folder: Path) -> dict[str, Content] | None:
    """What the manifest of an unpacked folder lists; None when it is damaged."""
    try:
        listed = read_json_object(folder / MANIFEST)["files"]
        return {str(name): Content(int(entry["size"]), str(entry["sha256"])) for name, entry in listed.items()}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _whole(folder: Path) -> Paths | None:
    """The files of an unpacked folder, when all are there with their size."""
    listed = contents(folder)
    if not listed or any(_size(folder / FILES / name) != content.size for name, content in listed.items()):
        return None
    return {name: folder / FILES / name for name in listed}


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _manifest(contents: dict[str, Content]) -> str:
    files = {name: {"size": content.size, "sha256": content.sha256} for name, content in contents.items()}
    return json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n"


def discard(folder: Path, cache: Cache) -> None:
    """Remove a folder whole: first its name, so that nobody finds half of it."""
    with cache.writing():
        going = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
        with suppress(FileNotFoundError):  # another was faster
            folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)


# --- What makes a model -----------------------------------------------------------------------------------------------


def _check_complete(paths: Paths, called: str) -> None:
    names = _config_names()
    lacking = []
    if not any(name in paths for name in names):
        lacking.append(f"a configuration ({' or '.join(names)})")
    if not any(map(_may_be_weights, paths)) and not _read_by_plugin(paths):
        lacking.append(f"weights ({', '.join(name for pair in WEIGHTS for name in pair)}, or those of a plugin)")
    if lacking:
        raise CorruptArchiveError(
            f"{called} holds no model: {' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing from its "
            f"{len(paths)} files{_sample(paths)}.",
            hint="Files count that lie at the top of the archive, or in the only folder there.",
        )


def _config_names() -> list[str]:
    return list(dict.fromkeys(name for spec in discovery.every(ConfigSpec) for name in spec.filenames))


def _may_be_weights(name: str) -> bool:
    return any(name in pair for pair in WEIGHTS) or OTHER_WEIGHTS.fullmatch(name) is not None


def _read_by_plugin(paths: Paths) -> bool:
    return any(spec.detect.load()(paths) for spec in discovery.every(WeightLoaderSpec))


def _sample(names: Iterable[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return f" ({shown})" if shown else ""
