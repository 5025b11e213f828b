"""A download under way: its bytes so far, their hash, and what lets a later download continue from there.

Each is private to its writer.  One that a dead process left is never continued in place, since only a lock could say
that its writer is dead: its bytes are copied (and hashed meanwhile), which costs less than fetching them.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import BinaryIO, Self

from registry.cache.cache import Cache
from registry.cache.layout import key
from registry.download import hub
from registry.files.digests import FileDigest
from registry.files.signatures import START
from registry.files.urls import redacted

CHUNK = 2**20
"""Bytes that are read, hashed and written at a time."""


class BackgroundHasher:
    """A sha256 that another thread computes, in parallel to reading and writing."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._chunks: Queue[bytes | None] = Queue(maxsize=8)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._finished: str | None = None

    def update(self, chunk: bytes) -> None:
        """Hash these bytes soon."""
        self._chunks.put(chunk)

    def finish(self) -> str:
        """The sha256 of all bytes, once they are hashed; ends the thread."""
        if self._finished is None:
            self._chunks.put(None)
            self._thread.join()
            self._finished = self._hash.hexdigest()
        return self._finished

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash.update(chunk)


class PartialDownload:
    """The bytes of a URL that are here so far."""

    def __init__(self, cache: Cache, url: str) -> None:
        self.url = url
        self.shown = redacted(hub.through_endpoint(url))
        """The URL for messages: of the server that is asked, and without secrets."""
        self.file: BinaryIO = cache.new_file(url)
        self.size = 0
        self.validator: str | None = None
        """The strong ETag with which the server is asked for the rest."""
        self.total: int | None = None
        """Bytes of the file, once a server said it."""
        self._hasher = BackgroundHasher()

    @classmethod
    def begin(cls, cache: Cache, url: str) -> Self:
        """A new download, with the bytes of the longest that an earlier one left; those that were left are removed."""
        part = cls(cache, url)
        left = sorted(_left(cache, url, but=part.path), key=_continuable_size)
        if left:
            part._take(left[-1])
        for path in left:
            _remove(path)
        return part

    @property
    def path(self) -> Path:
        """The file of the bytes; a JSON file next to it holds the validator and the total."""
        return Path(self.file.name)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self.file.write(chunk)
        self._hasher.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Drop all bytes."""
        self.file.seek(0)
        self.file.truncate()
        self._hasher.finish()
        self._hasher = BackgroundHasher()
        self.size = 0
        self.validator = self.total = None
        _note(self.path).unlink(missing_ok=True)

    def describe(self, validator: str | None, total: int | None) -> None:
        """Note what the server said of the file, so that a later download can continue."""
        if validator is not None and (validator, total) != (self.validator, self.total):
            with suppress(FileNotFoundError):  # another process deletes the cache: there will be nothing to continue
                _note(self.path).write_text(json.dumps({"validator": validator, "total": total}), "utf-8")
        self.validator, self.total = validator, total

    def reserve(self, total: int | None) -> None:
        """Raise OSError (ENOSPC) at once when the file will not fit on the disk, as far as the disk says so."""
        wanted = 0 if total is None else total - self.size
        if wanted and hasattr(os, "posix_fallocate") and _free(self.file.fileno()) < wanted:
            try:
                os.posix_fallocate(self.file.fileno(), 0, total or 0)  # some disks have more room than they say
            finally:
                self.file.truncate(self.size)

    def start(self) -> bytes:
        """The first bytes, from which a file is recognized."""
        self.file.flush()
        self.file.seek(0)
        found = self.file.read(START)
        self.file.seek(0, os.SEEK_END)
        return found

    def digest(self) -> FileDigest:
        """The digest of all bytes; nothing can be written afterwards."""
        return FileDigest(self.size, self._hasher.finish())

    def close(self, *, keep: bool) -> None:
        """Close the file, and keep it for a later download if that can continue from it."""
        self._hasher.finish()
        with suppress(OSError):  # a full disk is reported once, by the write that filled it
            self.file.close()
        if not (keep and self.validator and self.size):
            _remove(self.path)

    def _take(self, path: Path) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(_note(path).read_bytes())
            with path.open("rb") as file:
                self.describe(str(note["validator"]), None if note["total"] is None else int(note["total"]))
                while chunk := file.read(CHUNK):
                    self.write(chunk)
            return
        self.restart()


def _free(handle: int) -> int:
    """Bytes that are free on the disk of an open file."""
    status = os.fstatvfs(handle)
    return status.f_bavail * status.f_frsize


def _left(cache: Cache, url: str, *, but: Path) -> list[Path]:
    found = (cache.home / "partial").glob(f"{key(url)}.*.part")
    return [path for path in found if path != but and path.is_file() and not path.is_symlink()]


def _continuable_size(path: Path) -> int:
    """Bytes from which a download can continue; -1 where it cannot."""
    try:
        return path.stat().st_size if _note(path).is_file() else -1
    except OSError:
        return -1


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _remove(path: Path) -> None:
    for each in (path, _note(path)):
        with suppress(OSError):
            each.unlink(missing_ok=True)
