"""Upkeep of the cache: its contents, whether they are intact, and removing what is not wanted.

Files are unlinked, never truncated, so that a process which reads one continues undisturbed.  Correctness depends on no
lock here either: what is removed at the wrong moment is fetched again.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from attrs import frozen

from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry, PulledDirectory, Record, read_record
from registry.cache.provenance import place_of
from registry.cache.unpacked import FILES, MANIFEST, discard, read_manifest
from registry.errors import CacheError, MissingFileError
from registry.files.digests import FileDigest, sha256_of
from registry.files.paths import list_directory
from registry.files.urls import is_at_or_below, shown

YOUNG = 3600
"""Seconds for which nothing is pruned: a process may be about to record it."""

State = Literal["here", "another program's", "gone"]


@frozen(kw_only=True)
class CachedFile(FileDigest):
    """The file of one URL in the cache."""

    url: str
    fetched: str | None
    """When, in UTC; None for a file of another program."""
    path: Path
    state: State


def kept(cache: Cache) -> list[CachedFile]:
    """All files of the cache, by URL; nothing is hashed."""
    found = []
    for entry in sorted(cache.entries(), key=lambda entry: entry.url):
        path = place_of(entry, cache)
        state: State = "here" if entry.path is None else "another program's"
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


def remove(urls: Collection[str], cache: Cache, *, asked: str) -> list[str]:
    """Remove the records of URLs, and the bytes that no other URL names.

    Args:
        urls: URLs as the cache records them, or directories of URLs.
        cache: The cache.
        asked: The model or URL that was asked for, for the error.

    Returns:
        The URLs whose records were removed.

    Raises:
        MissingFileError: Nothing of these is in the cache.
    """
    records = {path: record for path, record in cache.records() if is_at_or_below(record.url, urls)}
    if not records:
        raise MissingFileError(f"nothing of {shown(asked)} is in the cache {cache.directory}.")
    digests = {record.sha256 for record in records.values() if isinstance(record, CacheEntry)}
    for path, record in records.items():
        with cache.lock(record.url), cache.writing():
            path.unlink(missing_ok=True)
    _remove_unnamed(digests, cache)
    for record in records.values():
        if isinstance(record, PulledDirectory):
            _remove_pulled(record.directory, cache)
    return sorted(record.url for record in records.values())


def prune(cache: Cache) -> list[str]:
    """Remove what no URL names and what dead processes left, unless it is young.

    Temporaries, nameless blobs and quarantined files are removed after a day; records whose bytes are gone, and
    directories that no archive and no pulled model has any more, after an hour.

    Returns:
        The paths that were removed.
    """
    before = set(_everything(cache))
    cache.sweep()
    for path, record in cache.records():
        if _is_of_nothing(path, record, cache):
            with cache.lock(record.url), cache.writing():
                if _is_of_nothing(path, read_record(path), cache):
                    path.unlink(missing_ok=True)
    for directory in _unpacked(cache):
        if not _is_old(directory):
            continue
        if not (directory / MANIFEST).is_file():
            _remove_pulled(directory.name, cache)
        elif directory.name not in cache.named():
            with cache.writing(), cache.unnamed(directory.name) as free:
                if free and _is_old(directory):
                    discard(directory, cache)
    return sorted(str(path) for path in before - set(_everything(cache)))


def clear(cache: Cache) -> int:
    """Remove all files and records but downloads that are under way; returns the number of bytes.

    Files that pytorch-pretrained-bert left in the same directory stay.
    """
    before = disk_usage(cache)
    with cache.writing():
        for path in [path for path, _ in cache.records()]:
            path.unlink(missing_ok=True)
        for directory in _unpacked(cache):
            discard(directory, cache)
        under_way = [path for path in (cache.home / "partial").glob("*") if not _is_old(path)]
        for path in _everything(cache):
            if path not in under_way:
                path.unlink(missing_ok=True)
    return before - disk_usage(cache)


def _is_of_nothing(path: Path, record: Record | None, cache: Cache) -> bool:
    """Whether a record, which is not young, names content that is gone."""
    if isinstance(record, PulledDirectory):
        return not cache.unpacked(record.directory).exists() and _is_old(path)
    return isinstance(record, CacheEntry) and not place_of(record, cache).exists() and _is_old(path)


def _remove_pulled(name: str, cache: Cache) -> None:
    """Remove a directory that a model was pulled into, unless one still is."""
    with cache.writing(), cache.naming(name):
        if name not in cache.pulled():
            discard(cache.unpacked(name), cache)


def _remove_unnamed(digests: Collection[str], cache: Cache) -> None:
    """Remove those contents that no record names any more, and the directories that are made of them."""
    for digest in digests:
        with cache.writing(), cache.unnamed(digest) as free:
            if free:
                _remove_content(digest, cache)


def _remove_content(digest: str, cache: Cache) -> None:
    files = [cache.blob(digest), *(cache.unpacked(digest) / FILES).glob("*")]
    identities = {_identity(path) for path in files} - {None}
    for directory in _unpacked(cache):
        if directory.name == digest or any(_identity(path) in identities for path in list_directory(directory)):
            discard(directory, cache)
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
    """Every file and unpacked directory, but locks, which are never removed."""
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
class VerifyResult:
    """The outcome of hashing every file of the cache."""

    sound: int
    """Files that are unchanged."""
    damaged: Mapping[str, str]
    """Path -> what is wrong with it."""


def verify(cache: Cache) -> VerifyResult:
    """Hash every blob, every unpacked file, and the files of other programs that records refer to.

    Where the cache can be written, damaged blobs are put in quarantine and damaged directories removed, so that they
    are fetched or unpacked again when they are next needed.
    """
    blobs = {path: path.name for path in sorted((cache.home / "blobs").glob("*/*")) if not path.name.endswith(".tmp")}
    referred = ((Path(entry.path), entry.sha256) for entry in cache.entries() if entry.path is not None)
    others = {path: digest for path, digest in referred if path.exists()}  # its program may remove it
    damaged = {path: problem for path, digest in (blobs | others).items() if (problem := _problem(path, digest))}
    sound = len(blobs) + len(others) - len(damaged)
    for path in damaged.keys() & blobs.keys():
        with suppress(CacheError):  # a cache that cannot be written is verified all the same
            cache.quarantine(path)
    for directory in _unpacked(cache):
        if (directory / MANIFEST).exists():  # else it is a directory of links to blobs
            intact, found = _verify_unpacked(directory, cache)
            sound += intact
            damaged |= found
    return VerifyResult(sound=sound, damaged={str(path): problem for path, problem in damaged.items()})


def _verify_unpacked(directory: Path, cache: Cache) -> tuple[int, dict[Path, str]]:
    """How many files of an unpacked directory are unchanged, and what is wrong with the others."""
    listed = read_manifest(directory) or {}
    problems = {directory / FILES / name: _problem(directory / FILES / name, d.sha256) for name, d in listed.items()}
    damaged = {path: problem for path, problem in problems.items() if problem}
    sound = len(problems) - len(damaged)
    if not listed:
        damaged = {directory / MANIFEST: "it lists no files"}
    if damaged:
        with suppress(CacheError):
            discard(directory, cache)
    return sound, damaged


def _problem(path: Path, digest: str) -> str | None:
    if not path.is_file() or (path.is_symlink() and path.parent.name == digest[:2]):
        return "it is gone, or no regular file"
    try:
        found = sha256_of(path)
    except OSError as problem:
        return f"it cannot be read: {problem.strerror}"
    return None if found == digest else f"its sha256 is {found}, and was {digest}"
