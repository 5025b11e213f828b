"""Content that a server names by a digest, and that the cache has already: under another URL, or of another commit."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve

from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry
from registry.cache.provenance import place_of
from registry.download.body import ExpectedFile
from registry.download.http import HTTPResponse
from registry.download.hub import HubFile, hub_file
from registry.files.digests import FileDigest
from registry.files.etags import matches_etag
from registry.files.urls import redacted


def received(response: HTTPResponse, url: str, digest: FileDigest) -> CacheEntry:
    """The record of a URL whose content has this digest, with what the response says of it."""
    return CacheEntry(
        size=digest.size,
        sha256=digest.sha256,
        url=redacted(url),
        etag=response.etag,
        revision=response.revision,
        source=redacted(response.url),
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class KnownContent:
    """The files of the cache, in which the content that a server names is looked for.

    Args:
        url: The URL in its one spelling.
        cache: The cache.
        expected: What is known of the file.
        held: The file that the cache has for the URL already.
    """

    def __init__(self, url: str, cache: Cache, expected: ExpectedFile, held: Path | None) -> None:
        self._url = url
        self._cache = cache
        self._expected = expected
        self._held = held
        self._found: dict[str, Path | None] = {}

    def has(self, response: HTTPResponse) -> bool:
        """Whether the body need not be read."""
        return self.find(response) is not None

    def find(self, response: HTTPResponse) -> Path | None:
        """The file with the content that a response names, which is then recorded as that of the URL; else None."""
        etag = response.etag
        if etag is None or self._expected.is_listing:
            return None
        if etag not in self._found:
            self._found[etag] = self._look(etag, response)
        return self._found[etag]

    def _look(self, etag: str, response: HTTPResponse) -> Path | None:
        for entry in self._candidates(etag, response.digest):
            path = place_of(entry, self._cache)
            with suppress(OSError):
                if path.stat().st_size == entry.size and self._is_expected(entry) and matches_etag(etag, path):
                    if path != self._held:
                        told = received(response, self._url, entry)
                        self._cache.share(self._url, evolve(told, mtime_ns=entry.mtime_ns, path=entry.path))
                        path.stat()  # once it is recorded, nobody removes it
                    return path
        return None

    def _candidates(self, etag: str, digest: str | None) -> Iterator[CacheEntry]:
        """Entries that may have the content: of the URL, of the digest, or of the same file at another commit."""
        own = self._cache.entry(self._url)
        if self._held is not None and own is not None:
            yield own
        if re.fullmatch(r"[0-9a-f]{64}", etag):
            with suppress(OSError):
                status = self._cache.blob(etag).lstat()
                yield CacheEntry(url="", size=status.st_size, sha256=etag, mtime_ns=status.st_mtime_ns)
            yield from (entry for entry in self._cache.entries() if entry.sha256 == etag)
        elif digest is not None:
            file = hub_file(self._url)
            yield from (entry for entry in self._cache.entries() if entry.etag == etag or _is_same(entry.url, file))

    def _is_expected(self, entry: CacheEntry) -> bool:
        return self._expected.sha256 in (None, entry.sha256) and self._expected.size in (None, entry.size)


def _is_same(url: str, file: HubFile | None) -> bool:
    """Whether a URL is of the same file of the hub, at any commit."""
    other = hub_file(url)
    return file is not None and other is not None and other._replace(revision=file.revision) == file
