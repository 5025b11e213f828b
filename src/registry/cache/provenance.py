"""The record that a file of the cache belongs to."""

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry
from registry.cache.unpacked import FILES, read_manifest
from registry.files.digests import FileDigest


@frozen
class Recorded(FileDigest):
    """Size and sha256 of a file when it was first used, as the cache recorded them."""

    entry: CacheEntry
    """The record of its URL, or of the archive that it was in."""


def recorded(path: Path, cache: Cache, entries: Iterable[CacheEntry]) -> Recorded | None:
    """What the cache recorded of a file; None for a file that it does not have.

    Args:
        path: The file, as the cache returned it.
        cache: The cache.
        entries: Its records; the first that fits counts.
    """
    if path.parent.name == FILES and path.parents[2] == cache.home / "unpacked":
        archive = path.parents[1]
        digest = (read_manifest(archive) or {}).get(path.name)
        entry = next((entry for entry in entries if entry.sha256 == archive.name), None)
        return None if entry is None or digest is None else Recorded(digest.size, digest.sha256, entry)
    entry = next((entry for entry in entries if path == place_of(entry, cache)), None)
    return None if entry is None else Recorded(entry.size, entry.sha256, entry)


def place_of(entry: CacheEntry, cache: Cache) -> Path:
    """The file with the bytes of a record: a blob, or the file of another program."""
    return cache.blob(entry.sha256) if entry.path is None else Path(entry.path)
