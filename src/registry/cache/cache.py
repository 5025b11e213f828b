"""The cache: files by the digest of their content, and for each address what it held when it was first used.

::

    .registry/v1/
      refs/<sha256 of the address>.json      an ``Entry``; written after its blob, and replaced whole
      blobs/ab/<sha256 of the content>       never edited, only unlinked; read-only
      partial/<sha256 of the address>.*      downloads under way, each private to its writer
      unpacked/<sha256 of an archive>/       folders made from blobs, each of which appears by one rename
      locks/<sha256 of the address>.lock     they save bytes, and decide nothing
      quarantine/                            what was found damaged last

No name in it comes from a server.  First use pins: from then on an entry is final, and using it writes nothing.
"""

import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS, ESTALE
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from attrs import asdict, evolve, field, fields_dict, frozen, validators

from registry.cache.directories import cache_directory
from registry.cache.locks import advisory
from registry.errors import CacheCorruptError, CacheError, CacheFullError, CacheReadOnlyError, RegistryError
from registry.files import atomic as durable
from registry.files.urls import redacted

T = TypeVar("T")

SCHEMA = 1
LARGEST_ENTRY = 64 * 1024
SWEEP_AFTER = 24 * 3600
"""Seconds after which what a dead process left is swept; clocks of other hosts may differ by less."""

_DIGEST = validators.matches_re(r"[0-9a-f]{64}")
_COUNT = validators.and_(validators.instance_of(int), validators.ge(0))


_TEXT = validators.optional(validators.instance_of(str))


@frozen(kw_only=True)
class Entry:
    """What an address held when it was first used."""

    url: str = field(validator=validators.instance_of(str))
    """The address, without user names and the values of its query."""
    sha256: str = field(validator=_DIGEST)
    size: int = field(validator=_COUNT)
    """Bytes."""
    mtime_ns: int = field(validator=validators.instance_of(int))
    """When the file system says that they were last changed, once they were hashed; at another time, hash again."""
    etag: str | None = field(default=None, validator=_TEXT)
    """The server's name for the content, without quotes and ``W/``: the hub's ``X-Linked-Etag`` before ``ETag``."""
    revision: str | None = field(default=None, validator=_TEXT)
    """The commit, where the hub named it (``X-Repo-Commit``)."""
    source: str | None = field(default=None, validator=_TEXT)
    """Where the bytes came from in the end, written as ``url`` is."""
    fetched: str | None = field(default=None, validator=_TEXT)
    """When, in UTC: ``2026-11-25T08:00:00+00:00``."""
    path: str | None = field(default=None, validator=_TEXT)
    """The file of another program that holds the bytes; None for a blob of our own."""


@frozen
class Cache:
    """The cache in a folder, which is made when something is first written."""

    directory: Path
    """The folder that ``cache_directory`` names."""

    @classmethod
    def at(cls, cache_dir: str | bytes | Path | None = None) -> Self:
        """The cache in this folder, or where the environment says; see ``cache_directory``."""
        return cls(cache_directory(cache_dir))

    @property
    def home(self) -> Path:
        """The folder of everything below, in the cache directory beside the ancestor's files."""
        return self.directory / ".registry" / f"v{SCHEMA}"

    def blob(self, digest: str) -> Path:
        """Where the content of this sha256 lies, if it does."""
        return self.home / "blobs" / digest[:2] / digest

    def ref(self, url: str) -> Path:
        """Where the entry of an address lies, if it does."""
        return self.home / "refs" / f"{key(url)}.json"

    # --- Reading, which writes nothing

    def entry(self, url: str) -> Entry | None:
        """The record of an address as it stands; whether its bytes are there is another question."""
        record = _read_record(self.ref(url))
        return None if record is None or "absent" in record else _as_entry(record)

    def is_absent(self, url: str) -> bool:
        """Whether the server had no such file, when it was first asked; see ``mark_absent``."""
        return bool((_read_record(self.ref(url)) or {}).get("absent"))

    def find(self, url: str, *, digest: str | None = None, size: int | None = None) -> Path | None:
        """The bytes of an address, if they are here, and are of the digest and size that are promised elsewhere.

        Costs one read and one ``lstat``; a file that was changed since it was hashed is hashed again.  Raises
        CacheCorruptError, with its ``path``, when it is no longer what was put here.
        """
        entry = self.entry(url)
        if entry is not None and digest in (None, entry.sha256) and size in (None, entry.size):
            return self._checked(url, entry)
        status = None if digest is None else _status(self.blob(digest))
        if digest is None or status is None or size not in (None, status.st_size):
            return None
        found = Entry(url=redacted(url), sha256=digest, size=status.st_size, mtime_ns=0)
        return self._hashed(url, found)  # it came from another address

    def entries(self) -> Iterator[Entry]:
        """Every readable record, in no order."""
        for _, record in self.records():
            entry = self.as_entry(record)
            if entry is not None:
                yield entry

    def records(self) -> Iterator[tuple[Path, dict[str, object]]]:
        """Every readable record as it stands, also of what a server had not, with its place."""
        for path in _children(self.home / "refs"):
            record = _read_record(path)
            if record is not None:
                yield path, record

    @staticmethod
    def as_entry(record: dict[str, object]) -> Entry | None:
        """What a record says; None for that of what a server had not, and for one that is damaged."""
        return None if "absent" in record else _as_entry(record)

    # --- Writing

    def keep(
        self,
        url: str,
        file: BinaryIO,
        *,
        digest: str,
        size: int,
        etag: str | None = None,
        revision: str | None = None,
        source: str | None = None,
    ) -> Path:
        """Make a file, whole and hashed, the content of an address; returns the blob.  First the bytes, then the name.

        ``file`` is open for reading and writing, and lies in ``partial`` (see ``new_file``); its name goes away.
        """
        with self.writing():
            blob = self._install(file, digest, size)
            self._record(
                Entry(
                    url=redacted(url),
                    sha256=digest,
                    size=size,
                    mtime_ns=blob.lstat().st_mtime_ns,
                    etag=etag,
                    revision=revision,
                    source=None if source is None else redacted(source),
                    fetched=datetime.now(UTC).isoformat(timespec="seconds"),
                ),
                url,
            )
        return blob

    def refer(self, url: str, path: Path, digest: str) -> None:
        """Remember that another program's file holds the verified bytes of an address; does nothing where it cannot."""
        with suppress(OSError):
            status = path.stat()
            entry = Entry(
                url=redacted(url), sha256=digest, size=status.st_size, mtime_ns=status.st_mtime_ns, path=str(path)
            )
            self._record(entry, url)

    def mark_absent(self, url: str) -> None:
        """Remember that the server has no such file, so that it is not asked again."""
        with self.writing():
            self._write_ref(url, {"schema": SCHEMA, "url": redacted(url), "absent": True})

    def forget(self, url: str) -> None:
        """Remove the record of an address; its blob stays until ``sweep``."""
        with self.writing():
            self.ref(url).unlink(missing_ok=True)

    def new_file(self, url: str) -> BinaryIO:
        """A new file for the bytes of an address, readable and writable, which nobody else writes."""
        with self.writing():
            folder = self._folder("partial")
            return (folder / f"{key(url)}.{uuid.uuid4().hex}.part").open("x+b")

    def unpack(self, name: str, write: Callable[[Path], None]) -> Path:
        """The folder ``unpacked/name``, which ``write`` fills if it is not there yet; it appears whole or not at all.

        ``name`` is a digest that determines what is in it.  Of several that fill it at once, one wins.  What ``write``
        raises comes through, and leaves nothing.
        """
        target = self.home / "unpacked" / name
        if target.is_dir():
            return target
        with self.writing():
            new = self._folder("unpacked") / f".{name}.{uuid.uuid4().hex}.tmp"
            new.mkdir()
            try:
                write(new)
                for folder in (new, *filter(Path.is_dir, new.rglob("*"))):
                    _sync_files(folder)
                _rename_unless_there(new, target)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            durable.sync_directory(target.parent)
        return target

    @contextmanager
    def lock(self, url: str) -> Iterator[None]:
        """Hold the lock of an address, as well as it can be held: it saves bytes, and correctness needs none."""
        with ExitStack() as held:
            with self.writing():
                held.enter_context(advisory(self._folder("locks") / f"{key(url)}.lock"))
            yield

    def quarantine(self, path: Path) -> None:
        """Put a damaged blob out of the way, and keep only this one for a look at it."""
        with self.writing():
            folder = self._folder("quarantine")
            for old in _children(folder):
                old.unlink(missing_ok=True)
            with suppress(FileNotFoundError):  # another was faster
                path.replace(folder / f"{path.name}.{uuid.uuid4().hex}")

    def sweep(self) -> None:
        """Remove what dead processes left more than a day ago: temporaries, partial downloads and nameless blobs."""
        named = {entry.sha256 for entry in self.entries()}
        nameless = (blob for shelf in _children(self.home / "blobs") for blob in _children(shelf))
        with self.writing():
            for path in (
                *_children(self.home / "partial"),
                *(path for path in _children(self.home / "refs") if path.name.endswith(".tmp")),
                *(path for path in _children(self.home / "unpacked") if path.name.endswith(".tmp")),
                *(blob for blob in nameless if blob.name not in named),
            ):
                _remove_if_old(path)

    # --- Inside

    def _checked(self, url: str, entry: Entry) -> Path | None:
        if entry.path is not None:
            return _unchanged(entry)
        blob = self.blob(entry.sha256)
        status = _status(blob)
        if status is None:
            return None
        if stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns):
            return blob
        return self._hashed(url, entry)

    def _hashed(self, url: str, entry: Entry) -> Path:
        """Hash a blob that may have changed, and remember that it has not.  Raises CacheCorruptError if it has."""
        blob = self.blob(entry.sha256)
        status = _status(blob)
        found = _digest(blob, entry.size)
        if status is None or found != entry.sha256:
            raise CacheCorruptError(
                f"{blob} is not what was put there: "
                f"{f'its sha256 is {found}' if found else f'it is no regular file of {entry.size:,} bytes'}.",
                path=blob,
                hint="It is fetched anew when a network may be used; `registry pull NAME` does that.",
            )
        with suppress(OSError):  # the next time need not hash again, if this can be written
            self._record(evolve(entry, mtime_ns=status.st_mtime_ns), url)
        return blob

    def _install(self, file: BinaryIO, digest: str, size: int) -> Path:
        blob = self.blob(digest)
        file.flush()
        os.fsync(file.fileno())
        if os.name == "posix":  # elsewhere, a read-only file could not be unlinked
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o444)
        try:
            self._folder("blobs", digest[:2])
            if (old := _status(blob)) is not None:  # of another address, whose entry knows the blob by its time
                os.utime(file.name, ns=(old.st_mtime_ns, old.st_mtime_ns))
            durable.replace(Path(file.name), blob)
        except FileNotFoundError:  # somebody deleted the cache meanwhile; what we hold open is still whole
            self._folder("blobs", digest[:2])
            self._install_copy(file, blob)
        except PermissionError:  # of Windows, where another process reads the blob: then it is there
            if _digest(blob, size) != digest:
                raise
            Path(file.name).unlink(missing_ok=True)
        return blob

    def _install_copy(self, file: BinaryIO, blob: Path) -> None:
        file.seek(0)
        new = durable.temporary_beside(blob)
        try:
            with new.open("xb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
            durable.replace(new, blob)
        finally:
            new.unlink(missing_ok=True)

    def _record(self, entry: Entry, url: str) -> None:
        values = {name: value for name, value in asdict(entry).items() if value is not None}
        self._write_ref(url, {"schema": SCHEMA, **values})

    def _write_ref(self, url: str, record: dict[str, object]) -> None:
        self._folder("refs")
        durable.write(self.ref(url), (json.dumps(record, indent=1) + "\n").encode())

    def _folder(self, *names: str) -> Path:
        folder = self.home.joinpath(*names)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), (self.home.parent / "CACHEDIR.TAG").open("x") as file:
                file.write(CACHEDIR_TAG)
        return folder

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the disk refuses into CacheReadOnlyError, CacheFullError, or another CacheError."""
        try:
            yield
        except RegistryError:
            raise
        except OSError as problem:
            raise self._refused(problem) from problem

    def _refused(self, problem: OSError) -> CacheError:
        if problem.errno in (EROFS, EACCES, EPERM):
            error: CacheError = CacheReadOnlyError(
                f"the cache {self.directory} cannot be written: {problem.strerror}.",
                hint="Choose another folder: cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE.",
            )
        elif problem.errno in (ENOSPC, EDQUOT, EFBIG):
            error = CacheFullError(
                f"the cache {self.directory} has no room: {problem.strerror}.",
                hint="Free some space (`registry cache list` shows what is there), or choose another folder: "
                "cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE.",
            )
        else:
            error = CacheError(
                f"the cache {self.directory} cannot be used: {problem}.",
                hint="Choose another folder: cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE.",
            )
        error.errno = problem.errno
        return error


CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# Backups may leave this folder out: https://bford.info/cachedir\n"
)


def key(url: str) -> str:
    """What names the files of an address: its sha256."""
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


# --- Careful reading --------------------------------------------------------------------------------------------------


def _as_entry(record: dict[str, object]) -> Entry | None:
    """The record as an entry; None for one that a crash, or another program, left in pieces."""
    values = {name: value for name, value in record.items() if name in fields_dict(Entry)}
    try:
        return Entry(**values)  # type: ignore[arg-type]  # the validators check the types
    except (TypeError, ValueError):
        return None


def _read_record(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(_patiently(lambda: _small(path)) or b"")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("schema") == SCHEMA else None


def _small(path: Path) -> bytes:
    """The bytes of a small regular file; a pipe in its place does not make us wait."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        return os.read(handle, LARGEST_ENTRY) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)


def _status(path: Path) -> os.stat_result | None:
    return _patiently(path.lstat)


def _patiently(look: Callable[[], T]) -> T | None:
    """What ``look`` finds; None for nothing.  Network file systems may need moments to see what another host did."""
    for _ in range(3):
        try:
            return look()
        except OSError as problem:
            if problem.errno != ESTALE:
                return None
        time.sleep(0.05)
    return None


def _unchanged(entry: Entry) -> Path | None:
    """The file of another program, if it is as it was when it was verified."""
    path = Path(str(entry.path))
    status = _patiently(path.stat)
    if status is None or (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
        return None
    return path


def _digest(path: Path, size: int) -> str | None:
    """The sha256 of a regular file of this size; None for anything else."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode) and status.st_size == size:
                return file_digest(file, "sha256").hexdigest()
    return None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _remove_if_old(path: Path) -> None:
    with suppress(FileNotFoundError):
        if time.time() - path.lstat().st_mtime > SWEEP_AFTER:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _rename_unless_there(new: Path, target: Path) -> None:
    try:
        new.rename(target)
    except OSError:
        if not target.is_dir():  # else another was faster, and wrote the same
            raise


def _sync_files(folder: Path) -> None:
    for file in filter(Path.is_file, folder.iterdir()):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    durable.sync_directory(folder)
