"""The sha256 of files, several at a time; large ones once on a machine, and not again after an interruption.

Digests of large files are noted in the cache while others are computed.  A call that was interrupted leaves its notes,
and the next one continues from them; processes that ask at the same time wait for one of them, and take its digests.  A
note never outlives a change that the file system records, and none is taken by a call that began after a complete one:
that one hashes everything, since a disk may damage a file without recording a change.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import Event, Lock
from typing import Any

from registry.cache.cache import Cache
from registry.cache.layout import key
from registry.cache.ownership import check_owner
from registry.download.progress import ProgressBar
from registry.errors import CacheError
from registry.files.atomic import content_writer, replace_file
from registry.records import Paths

LARGE = 64 * 2**20
"""Bytes from which on a digest is noted; fewer are hashed within a tenth of a second."""
LASTS = 24 * 60 * 60
"""Seconds for which the notes of an interrupted call are taken."""
SETTLED = 2.0
"""Seconds since the last change, before which none is noted: a further change might get the same time."""
BLOCK = 2**20
"""Bytes that are read at a time."""


def digests_of(paths: Paths, cache: Cache, *, resume: bool, progress: bool | None) -> dict[str, str]:
    """The sha256 of each file.

    Args:
        paths: The files.
        cache: Where digests of large files are noted meanwhile, if it can be written.
        resume: Whether to continue from what an interrupted call noted.
        progress: Whether a bar shows the bytes that are hashed; None shows one on a terminal.

    Raises:
        OSError: A file cannot be read.
    """
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    large = [paths[name] for name, size in sizes.items() if size >= LARGE]
    with _notes_of(large, cache, resume=resume) as notes:
        known = {name: digest for name, path in paths.items() if (digest := notes.digest(path)) is not None}
        left = {name: path for name, path in paths.items() if name not in known}
        total = sum(sizes[name] for name in left)
        with ProgressBar("Hashing", total=total, unit="bytes", shown=progress) as bar:
            known |= _hashed(left, bar, notes)
    return {name: known[name] for name in paths}


def _hashed(paths: Paths, bar: ProgressBar, notes: "_Notes") -> dict[str, str]:
    stopped = Event()
    with ThreadPoolExecutor() as pool:
        futures = {name: pool.submit(_noted, path, bar, stopped, notes) for name, path in paths.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:  # Ctrl-C as well: threads would hash for minutes
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _noted(path: Path, bar: ProgressBar, stopped: Event, notes: "_Notes") -> str:
    before = _state(path)
    digest = _sha256(path, bar, stopped)
    if before == _state(path):
        notes.add(path, before, digest)
    return digest


def _sha256(path: Path, bar: ProgressBar, stopped: Event) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if stopped.is_set():
                raise CancelledError
            digest.update(block)
            bar.advance(len(block))
    return digest.hexdigest()


# --- Notes ------------------------------------------------------------------------------------------------------------


def _state(path: Path) -> list[int]:
    """What changes with a file: nobody can set the time at which its inode changed."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


class _Notes:
    """Digests of some files.

    Args:
        path: Where they are kept; None for nowhere.
        files: The files.
        taken: What was noted before: state, digest and time by path.
    """

    def __init__(self, path: Path | None, files: Iterable[Path], taken: Mapping[str, Any]) -> None:
        self._path, self._files = path, set(files)
        self._taken = dict(taken)
        self._lock = Lock()

    def digest(self, path: Path) -> str | None:
        """The digest that was noted of a file, unless the file changed since."""
        state, digest, _ = self._taken.get(os.fspath(path), (None, None, None))
        return digest if digest is not None and state == _state(path) else None

    def add(self, path: Path, state: list[int], digest: str) -> None:
        """Note a digest, which was computed while the file did not change."""
        now = time.time()
        if path in self._files and now - state[2] / 1e9 >= SETTLED:
            with self._lock:
                self._taken[os.fspath(path)] = state, digest, now
                self.write(complete=False)

    def write(self, *, complete: bool) -> None:
        """Keep them; those of a complete call are only for calls that have begun."""
        if self._path is not None:
            content = json.dumps({"complete": complete, "files": self._taken})
            with suppress(OSError):  # then the next call hashes more
                replace_file(self._path, content_writer(content))


@contextmanager
def _notes_of(files: list[Path], cache: Cache, *, resume: bool) -> Iterator[_Notes]:
    """The notes of some files, held by this process; none where the cache is read-only or not to be trusted."""
    began = time.time()
    with ExitStack() as held:
        path = None
        if files:
            name = key("\n".join(["verify", socket.gethostname(), *sorted(map(os.path.realpath, files))]))
            with suppress(OSError, CacheError):
                from registry.cache.locks import best_effort_lock

                lock, noted = cache.made("locks") / f"{name}.lock", cache.made("partial") / f"{name}.digests"
                check_owner(noted, cache.directory)  # else another user could vouch for a file that was changed
                held.enter_context(best_effort_lock(lock))
                path = noted
        notes = _Notes(path, files, {} if path is None else _read(path, began, resume=resume))
        yield notes
        notes.write(complete=True)


def _read(path: Path, began: float, *, resume: bool) -> dict[str, Any]:
    """The notes that count for a call which began then: later ones, and if it resumes those of an interrupted call."""
    try:
        found = json.loads(path.read_bytes())
        since = began - LASTS if resume and not found["complete"] else began
        return {
            name: (list(state), str(digest), float(at))
            for name, (state, digest, at) in found["files"].items()
            if at >= since
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
