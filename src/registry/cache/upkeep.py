"""Looking after the cache: what is in it, whether it is whole, and removing what is not wanted.

Files are unlinked, never truncated, so that a process which reads one goes on undisturbed.  Correctness depends on no
lock here either: what is removed at the wrong moment is fetched again.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from attrs import frozen

from registry.archives.unpacked import FILES, MANIFEST, contents, discard
from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry
from registry.cache.provenance import addresses, is_among, recorded_address
from registry.download.policy import WEB
from registry.errors import CacheError, MissingFileError
from registry.sources.resolve import resolve

YOUNG = 3600
"""Seconds for which nothing is pruned: a process may be about to name it."""


@frozen(kw_only=True)
class CachedFile:
    """What is kept of one address."""

    url: str
    size: int
    sha256: str
    fetched: str | None
    path: Path
    """Where the bytes lie."""
    state: Literal["here", "another program's", "gone"]


def kept(cache: Cache) -> list[CachedFile]:
    """What is kept, by address; nothing is hashed."""
    found = []
    for entry in sorted(cache.entries(), key=lambda entry: entry.url):
        path = _place(entry, cache)
        state: Literal["here", "another program's", "gone"] = "here" if entry.path is None else "another program's"
        found.append(
            CachedFile(
                url=entry.url,
                size=entry.size,
                sha256=entry.sha256,
                fetched=entry.fetched,
                path=path,
                state=state if path.is_file() and path.stat().st_size == entry.size else "gone",
            )
        )
    return found


def disk_usage(cache: Cache) -> int:
    """Bytes of all files in the cache; a file with several names counts once."""
    sizes = {}
    for path in cache.home.rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            if path.is_file():
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


# --- Removing ---------------------------------------------------------------------------------------------------------


def remove(name: str, cache: Cache) -> list[str]:
    """Remove what is kept of a model, or of an address; returns the addresses.  Raises MissingFileError for nothing.

    Bytes which another address names stay.
    """
    if name.startswith(WEB) and name.partition(":")[0] != "hub":
        wanted = [recorded_address(name)]
    else:
        wanted = list(addresses(resolve(name)))
    records = {path: record for path, record in cache.records() if is_among(record.url, wanted)}
    if not records:
        raise MissingFileError(f"nothing of {name!r} is in the cache {cache.directory}.")
    digests = {record.sha256 for record in records.values() if isinstance(record, CacheEntry)}
    for path, record in records.items():
        with cache.lock(record.url), cache.writing():
            path.unlink(missing_ok=True)
    _remove_unnamed(digests, cache)
    return sorted(record.url for record in records.values())


def prune(cache: Cache) -> list[str]:
    """Remove what no address names and what dead processes left, unless it is young; returns what went, by its path.

    Removed are temporaries, nameless blobs and quarantined files after a day; records whose bytes are gone, and folders
    unpacked from archives that no address names, after an hour.
    """
    before = set(_everything(cache))
    cache.sweep()
    for path, record in cache.records():
        if isinstance(record, CacheEntry) and not _place(record, cache).exists() and _is_old(path):
            with cache.lock(record.url), cache.writing():
                path.unlink(missing_ok=True)
    named = {entry.sha256 for entry in cache.entries()}
    for folder in _unpacked(cache):
        if (folder / MANIFEST).is_file() and folder.name not in named and _is_old(folder):
            discard(folder, cache)
    return sorted(str(path) for path in before - set(_everything(cache)))


def _remove_unnamed(digests: Collection[str], cache: Cache) -> None:
    """Remove those contents which no record names any more, and the folders which are made of them."""
    unnamed = set(digests) - {entry.sha256 for entry in cache.entries()}
    files = [cache.blob(digest) for digest in unnamed]
    files += [path for digest in unnamed for path in (cache.home / "unpacked" / digest / FILES).glob("*")]
    identities = {_identity(path) for path in files} - {None}
    for folder in _unpacked(cache):
        if folder.name in unnamed or any(_identity(path) in identities for path in folder.iterdir()):
            discard(folder, cache)
    for digest in unnamed:
        with cache.writing():
            cache.blob(digest).unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unpacked(cache: Cache) -> list[Path]:
    return [path for path in (cache.home / "unpacked").glob("*") if path.is_dir() and not path.name.endswith(".tmp")]


def _everything(cache: Cache) -> Iterator[Path]:
    """Every file and unpacked folder, but locks, which stay for ever."""
    for part in ("refs", "partial", "quarantine"):
        yield from (cache.home / part).glob("*")
    yield from (cache.home / "blobs").glob("*/*")
    yield from (cache.home / "unpacked").iterdir() if (cache.home / "unpacked").is_dir() else ()


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > YOUNG
    return False


# --- Verifying --------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Checked:
    """What came of hashing everything that is kept."""

    sound: int
    """Files that are what they were."""
    damaged: Mapping[str, str]
    """Path -> what is wrong with it."""


def verify(cache: Cache) -> Checked:
    """Hash every blob, every unpacked file, and the files of other programs that records refer to.

    Damaged blobs are put in quarantine and damaged folders removed, where the cache can be written, so that they are
    made anew when they are needed next.
    """
    blobs = {path: path.name for path in sorted((cache.home / "blobs").glob("*/*")) if not path.name.endswith(".tmp")}
    others = {Path(entry.path): entry.sha256 for entry in cache.entries() if entry.path is not None}
    damaged = {path: problem for path, digest in (blobs | others).items() if (problem := _problem(path, digest))}
    sound = len(blobs) + len(others) - len(damaged)
    for path in damaged.keys() & blobs.keys():
        with suppress(CacheError):  # a cache that cannot be written is verified all the same
            cache.quarantine(path)
    for folder in _unpacked(cache):
        if not (folder / MANIFEST).exists():
            continue  # a folder of links to blobs
        listed = contents(folder)
        wrong = {folder / FILES / name: _problem(folder / FILES / name, c.sha256) for name, c in (listed or {}).items()}
        found = {path: problem for path, problem in wrong.items() if problem}
        found |= {} if listed else {folder / MANIFEST: "it lists no files"}
        sound += len(wrong) - len(found)
        damaged |= found
        if found:
            with suppress(CacheError):
                discard(folder, cache)
    return Checked(sound=sound, damaged={str(path): problem for path, problem in damaged.items()})


def _problem(path: Path, digest: str) -> str | None:
    if not path.is_file() or (path.is_symlink() and path.parent.name == digest[:2]):
        return "it is gone, or no regular file"
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        return f"it cannot be read: {problem.strerror}"
    return None if found == digest else f"its sha256 is {found}, and was {digest}"


def _place(entry: CacheEntry, cache: Cache) -> Path:
    return cache.blob(entry.sha256) if entry.path is None else Path(entry.path)
