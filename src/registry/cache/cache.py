"""The cache: files by the digest of their content, and for each URL what it held when it was first used.

First use pins: from then on an entry is final, and using it writes nothing.  ``layout`` draws the directories.
"""

import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from attrs import evolve

from registry.cache import blobs
from registry.cache.entry import (
    Absence,
    CacheEntry,
    PinnedRevision,
    PulledDirectory,
    Record,
    encode_record,
    pulled_url,
    read_record,
)
from registry.cache.layout import CacheLayout, key
from registry.cache.ownership import FILE_MODE, check_owner
from registry.cache.reading import patiently, status_of
from registry.cache.refusals import disk_errors_as_cache_errors
from registry.files.atomic import (
    TEMPORARY,
    content_writer,
    is_stale,
    remove_stale,
    replace_file,
    write_directory,
)
from registry.files.paths import list_directory
from registry.files.urls import redacted


class Cache(CacheLayout):
    """The cache in a directory, which is made when something is first written."""

    # --- Reading, which writes nothing

    def entry(self, url: str) -> CacheEntry | None:
        """The entry of a URL as it stands, whether its bytes are there or not."""
        record = read_record(self.ref(url))
        return record if isinstance(record, CacheEntry) else None

    def absence(self, url: str) -> Absence | None:
        """What ``mark_absent`` recorded of a URL, if that is the last that is known of it."""
        record = read_record(self.ref(url))
        return record if isinstance(record, Absence) else None

    def commit(self, url: str) -> str | None:
        """The commit that ``pin`` recorded for the directory of a revision."""
        record = read_record(self.ref(url))
        return record.commit if isinstance(record, PinnedRevision) else None

    def find(self, url: str, *, digest: str | None = None, size: int | None = None) -> Path | None:
        """The bytes of a URL; costs one read and one ``lstat``, unless the file was changed since it was hashed.

        Args:
            url: The URL in its one spelling.
            digest: The sha256 that is expected, if one is known elsewhere.
            size: Bytes that are expected.

        Returns:
            The path of the file, or None where the cache has none, or another one.

        Raises:
            CacheCorruptError: The file is no longer what was put here; its ``path`` is in the error.
        """
        entry = self.entry(url)
        if entry is not None:
            check_owner(self.ref(url), self.directory)
        if entry is not None and digest in (None, entry.sha256) and size in (None, entry.size):
            return self._unchanged(url, entry)
        status = None if digest is None else status_of(self.blob(digest))
        if digest is None or status is None or size not in (None, status.st_size):
            return None
        check_owner(self.blob(digest), self.directory)
        found = CacheEntry(url=redacted(url), sha256=digest, size=status.st_size)  # it came from another URL
        return self._hashed(url, found, is_new=entry is None)

    def records(self) -> Iterator[tuple[Path, Record]]:
        """Every readable record, and the path of its file."""
        for path in list_directory(self.home / "refs"):
            record = read_record(path)
            if record is not None:
                yield path, record

    def entries(self) -> Iterator[CacheEntry]:
        """The records that are entries."""
        return (record for _, record in self.records() if isinstance(record, CacheEntry))

    # --- Writing

    def keep(self, url: str, file: BinaryIO, entry: CacheEntry) -> Path:
        """Make a complete file the content of a URL: first the bytes, then the name.

        Args:
            url: The URL in its one spelling.
            file: The file, open for reading and writing, which ``new_file`` made; its name goes away.
            entry: The record of the URL, with the digest of the file; its ``mtime_ns`` is filled in.

        Returns:
            The path of the blob.

        Raises:
            CacheError: The disk refused.
        """
        blob = self.blob(entry.sha256)
        with self.writing():
            self.made("blobs")
            check_owner(blob.parent, self.directory)
            with self.naming(entry.sha256):
                blobs.install(file, entry, blob)
                self._write(url, evolve(entry, mtime_ns=blob.lstat().st_mtime_ns))
        return blob

    def refer(self, url: str, path: Path, digest: str) -> None:
        """Record that another program's file holds the verified bytes of a URL; does nothing where it cannot."""
        with suppress(OSError):
            status = path.stat()
            entry = CacheEntry(
                url=redacted(url), sha256=digest, size=status.st_size, mtime_ns=status.st_mtime_ns, path=str(path)
            )
            self._record(url, entry)

    def share(self, url: str, entry: CacheEntry) -> None:
        """Record that a URL has content that is here already, in the file of another entry.  Raises CacheError."""
        with self.writing():
            self._record(url, entry)

    def pin(self, url: str, commit: str) -> None:
        """Record which commit the directory of a revision is; does nothing where it cannot."""
        if self.commit(url) != commit:
            with suppress(OSError, ValueError):  # of a mirror that names its commits otherwise
                self._record(url, PinnedRevision(url, commit))

    def mark_pulled(self, model: str, directory: str) -> None:
        """Record which of the directories in ``unpacked`` holds a model; does nothing where it cannot.

        A directory is recorded before it is made, so that none is made which ``prune`` takes for one of no model.
        """
        url = pulled_url(model)
        if read_record(self.ref(url)) != (record := PulledDirectory(url, directory)):
            with suppress(OSError), self.naming(directory):
                self._write(url, record)

    def mark_absent(self, url: str, status: int) -> None:
        """Record that the server answered with this HTTP status in place of a file.  Raises CacheError."""
        with self.writing():
            self._record(url, Absence(redacted(url), status))

    def forget(self, url: str) -> None:
        """Remove the record of a URL; its blob stays until ``sweep``.  Raises CacheError."""
        with self.writing():
            self._unname(url, None)
            self.ref(url).unlink(missing_ok=True)

    def new_file(self, url: str) -> BinaryIO:
        """A new file for the bytes of a URL, readable and writable, which nobody else writes.  Raises CacheError."""
        with self.writing():
            path = self.made("partial") / f"{key(url)}.{uuid.uuid4().hex}.part"
            return open(path, "x+b", opener=_opened)  # Path.open has no opener

    def unpack(self, name: str, write: Callable[[Path], None]) -> Path:
        """The directory ``unpacked/name``, which is written if it is not there yet; it appears complete or not at all.

        Args:
            name: A digest that determines what is in it.
            write: Fills an empty directory; what it raises comes through, and leaves nothing.

        Raises:
            CacheError: The disk refused.
        """
        target = self.unpacked(name)

        def fill(directory: Path) -> None:
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) & ~stat.S_IWOTH)
            write(directory)

        check_owner(target, self.directory)
        if target.is_dir():
            return target
        with self.writing():
            self.made("unpacked")
            with suppress(FileExistsError):  # another was faster, and wrote the same
                write_directory(target, fill)
        return target

    @contextmanager
    def lock(self, url: str) -> Iterator[None]:
        """Hold the lock of a URL, as well as it can be held: it saves bytes, and correctness needs none."""
        with ExitStack() as held:
            with self.writing():
                from registry.cache.locks import best_effort_lock  # not needed for what is in the cache

                held.enter_context(best_effort_lock(self.made("locks") / f"{key(url)}.lock"))
            yield

    @contextmanager
    def naming(self, digest: str) -> Iterator[None]:
        """Hold the lock under which records begin to name a content, and a content without a name is removed.

        So what is named once is there, and is not removed while a process that found no name goes to remove it.
        Raises OSError.
        """
        from registry.cache.locks import best_effort_lock

        with best_effort_lock(self.made("locks") / f"{digest[:2]}.lock"):
            yield

    def quarantine(self, path: Path) -> None:
        """Move a damaged blob out of the way; only the last one is kept, for a look at it.  Raises CacheError."""
        with self.writing(), self.naming(path.name):
            if blobs.is_intact(path):  # another process was faster, and fetched it again
                return
            directory = self.made("quarantine")
            for old in list_directory(directory):
                old.unlink(missing_ok=True)
            with suppress(FileNotFoundError):  # another was faster
                path.replace(directory / f"{path.name}.{uuid.uuid4().hex}")

    def sweep(self) -> None:
        """Remove temporaries, partial downloads and unnamed blobs that are older than a day.  Raises CacheError.

        A blob that lost its name is as old as that is ago: a process may have found it just before.
        """
        for part in ("refs", "blobs", "partial", "unpacked", "quarantine"):
            check_owner(self.home / part, self.directory)
        named = self.named()
        shelves = list_directory(self.home / "blobs")
        inside = [blob for shelf in shelves for blob in list_directory(shelf)]
        finals = [*list_directory(self.home / "refs"), *list_directory(self.home / "unpacked"), *inside]
        with self.writing():
            remove_stale(list_directory(self.home / "partial"))
            remove_stale(path for path in finals if TEMPORARY.fullmatch(path.name))
            for blob in inside:
                with suppress(FileNotFoundError):  # another process was faster
                    if blob.name not in named and is_stale(blob):
                        self._remove_unnamed(blob)

    def named(self) -> set[str]:
        """The digests of all contents that records name."""
        return {entry.sha256 for entry in self.entries()}

    def pulled(self) -> set[str]:
        """The names of the directories in ``unpacked`` that models were pulled into."""
        return {record.directory for _, record in self.records() if isinstance(record, PulledDirectory)}

    @contextmanager
    def unnamed(self, digest: str) -> Iterator[bool]:
        """Whether no record names a content, which none begins to do inside of the ``with`` block.  Raises OSError."""
        with self.naming(digest):
            yield digest not in self.named()

    def writing(self) -> AbstractContextManager[None]:
        """Turn errors of the disk into CacheReadOnlyError, CacheFullError, or another CacheError."""
        return disk_errors_as_cache_errors(self.directory)

    # --- Inside

    def _remove_unnamed(self, blob: Path) -> None:
        with self.unnamed(blob.name) as free:
            if free:
                remove_stale([blob])

    def _unchanged(self, url: str, entry: CacheEntry) -> Path | None:
        if entry.path is not None:
            return _file_of_another_program(Path(entry.path), entry)
        blob = self.blob(entry.sha256)
        check_owner(blob, self.directory)
        unchanged = blobs.is_unchanged(blob, entry)
        if unchanged is None:
            return None
        return blob if unchanged else self._hashed(url, entry)

    def _hashed(self, url: str, entry: CacheEntry, *, is_new: bool = True) -> Path | None:
        """Hash a blob that may have changed, and record that it has not.

        Where the URL is pinned to other content (``is_new`` is False), that stays.  None where the blob is removed
        meanwhile.  Raises CacheCorruptError.
        """
        blob = self.blob(entry.sha256)
        mtime_ns = blobs.check(blob, entry)
        with suppress(OSError), self.naming(entry.sha256):  # the next time need not hash again, if this can be written
            if status_of(blob) is None:
                return None
            if is_new:
                self._write(url, evolve(entry, mtime_ns=mtime_ns))
            elif entry.sha256 not in self.named():
                os.utime(blob)  # so that it is not pruned while it is used
        return blob

    def _record(self, url: str, record: Record) -> None:
        with self.naming(record.sha256) if isinstance(record, CacheEntry) else nullcontext():
            self._write(url, record)

    def _write(self, url: str, record: Record) -> None:
        self.made("refs")
        self._unname(url, record)
        replace_file(self.ref(url), content_writer(encode_record(record)), most=FILE_MODE)

    def _unname(self, url: str, record: Record | None) -> None:
        """Make the content that a URL had until now young: if no other URL has it, ``sweep`` leaves it for a while."""
        old = self.entry(url)
        if old is not None and not (isinstance(record, CacheEntry) and record.sha256 == old.sha256):
            for path in (self.blob(old.sha256), self.unpacked(old.sha256)):
                with suppress(OSError):  # of another user, or not there
                    os.utime(path)


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _file_of_another_program(path: Path, entry: CacheEntry) -> Path | None:
    """The file, if it is as it was when it was hashed."""
    status = patiently(path.stat)
    if status is None or (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
        return None
    return path
