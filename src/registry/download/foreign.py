"""Files in the caches of other programs: used where they lie, never changed, never copied.

Two are known: pytorch-pretrained-bert, and the client of the hub.  Both name a file by the ETag of its server, which
is a digest wherever files of models come from: of the hub (sha256 for large files, the sha1 of git for others), and of
S3 (md5).  A file is used when its bytes have that digest, or the sha256 that a card promises; a file whose name carries
no digest is used only with such a promise.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from attrs import frozen

from registry import discovery
from registry.cache.directories import hub_cache, older_directory
from registry.download.hub import hub_file
from registry.errors import ConfigError, RegistryError, warn
from registry.files.etags import matches_etag
from registry.files.strict_json import read_json_object


class Find(Protocol):
    """A search for a file in the cache of another program."""

    def __call__(self, url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:
        """The file that this URL named, or None; nothing is raised.

        Args:
            url: A URL in its one spelling, of the hub itself whatever ``HF_ENDPOINT`` says.
            cache_dir: The directory of our own cache.
            sha256: The digest that is promised.
            verify: Whether the bytes are compared with that digest, or with the one in the file's name.  Without it,
                only existence is checked, for listings.
        """


@frozen
class Snapshot:
    """A commit of a hub repository, some of whose files are in the cache of another program."""

    commit: str
    names: frozenset[str]
    """Its files there; often not all of the commit."""


def find(url: str, *, cache_dir: Path, sha256: str | None = None, verify: bool = True) -> Path | None:
    """The first file that one of ``FILES`` finds."""
    answers = (source(url, cache_dir=cache_dir, sha256=sha256, verify=verify) for source in FILES)
    return next(filter(None, answers), None)


def snapshot(repository: str, revision: str) -> Snapshot | None:
    """The first snapshot that one of ``SNAPSHOTS`` finds."""
    return next(filter(None, (source(repository, revision) for source in SNAPSHOTS)), None)


# --- pytorch-pretrained-bert ------------------------------------------------------------------------------------------

ETAG = re.compile(r"(\.[0-9a-f]{64})?")
"""What an entry's name has after the digest of the URL."""


def predecessors_file(url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:
    """The newest sound entry ``sha256(url).sha256(etag)`` in our cache's directory, or in the older one.

    pytorch-pretrained-bert kept error pages as well as models; those have no ETag, or one that is not their digest.
    """
    for directory in (cache_dir, older_directory()):
        for path in _newest_first(directory, _sha256(url)):
            etag = _recorded_etag(path, url)
            if (etag or sha256) and (not verify or _is_sound(path, etag or "", sha256)):
                return path
    return None


def _newest_first(directory: Path, name: str) -> list[Path]:
    try:
        named = (entry for entry in os.scandir(directory) if entry.name.startswith(name))
        entries = [entry for entry in named if ETAG.fullmatch(entry.name, len(name))]
        files = [(entry.stat().st_mtime_ns, Path(entry.path)) for entry in entries if entry.is_file()]
    except OSError:
        return []
    return [path for _, path in sorted(files, reverse=True)]


def _recorded_etag(path: Path, url: str) -> str | None:
    """The ETag in the note next to an entry, if the entry's name and URL agree with it."""
    try:
        note = read_json_object(path.with_name(f"{path.name}.json"), limit=64 * 1024)
    except ConfigError:
        return None
    etag = note.get("etag")
    if note.get("url") != url or not isinstance(etag, str) or path.name != f"{_sha256(url)}.{_sha256(etag)}":
        return None
    return etag


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- The client of the hub --------------------------------------------------------------------------------------------

COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_clients_file(url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:  # noqa: ARG001
    """The file of a repository at a revision, in the cache of the hub's client."""
    parts = hub_file(url)
    if parts is None:
        return None
    repository, revision, name = map(unquote, parts)
    for directory in _repositories(repository):
        commit = _commit(directory, revision)
        path = _inside(directory / "snapshots" / commit, name) if commit else None
        if path is not None and path.is_file() and (not verify or _is_sound(path, _blob_name(path, directory), sha256)):
            return path
    return None


def copied_snapshot(repository: str, revision: str) -> Path | None:
    """The directory of a snapshot whose files are not links to blobs any more, so that no digest is known of them."""
    for directory in _repositories(repository):
        commit = _commit(directory, revision)
        home = directory / "snapshots" / (commit or "")
        if commit and any(path.is_file() and not _blob_name(path, directory) for path in home.rglob("*")):
            return home
    return None


def hub_snapshot(repository: str, revision: str) -> Snapshot | None:
    """The commit that a revision was when the hub's client last asked, and the files of it that are in its cache."""
    for directory in _repositories(repository):
        commit = _commit(directory, revision)
        if commit:
            home = directory / "snapshots" / commit
            names = frozenset(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
            if names:
                return Snapshot(commit, names)
    return None


def _repositories(repository: str) -> Iterator[Path]:
    """Directories of a repository: its own, and that of its name before the hub's first models had organizations."""
    yield hub_cache() / f"models--{repository.replace('/', '--')}"
    name = repository.rpartition("/")[2]
    older = hub_cache() / f"models--{name}"
    if name != repository and older.is_dir():
        with suppress(RegistryError):  # two plugins may declare it
            card = discovery.card(repository)
            if card is not None and card.name == name:  # else the two are unrelated
                yield older


def _commit(directory: Path, revision: str) -> str | None:
    if not COMMIT.fullmatch(revision):
        ref = _inside(directory / "refs", revision)
        try:
            revision = "" if ref is None else ref.read_text("ascii")[:100].strip()
        except (OSError, ValueError):
            return None
    return revision if COMMIT.fullmatch(revision) else None


def _inside(directory: Path, name: str) -> Path | None:
    """``directory/name``, unless the name leads out of the directory."""
    parts = name.split("/")
    return None if {"", ".", ".."} & set(parts) or "\\" in name or "\0" in name else directory.joinpath(*parts)


def _blob_name(path: Path, directory: Path) -> str:
    """The name of the blob that a file of a snapshot links to, or of which it is a copy: the hub's ETag; else "".

    Links become copies on Windows, and where a cache is unpacked from an archive or synchronized with a bucket.
    """
    try:
        return path.readlink().name
    except OSError:
        pass
    try:
        size = path.stat().st_size
        blobs = [entry.name for entry in os.scandir(directory / "blobs") if entry.stat().st_size == size]
    except OSError:
        return ""
    return next((name for name in blobs if matches_etag(name, path)), "")


# --- Verification -----------------------------------------------------------------------------------------------------


def _is_sound(path: Path, etag: str, sha256: str | None) -> bool:
    """Whether a regular file has the promised sha256, else the digest in its ETag; warns if not."""
    expected = sha256 or etag.removeprefix("W/").strip('"').lower()
    try:
        sound = bool(stat.S_ISREG(path.stat().st_mode) and matches_etag(expected, path))
    except OSError:
        return False
    if not sound and re.fullmatch("[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", expected):
        warn(f"{path} is ignored: it does not match its digest, {expected}.")
    return sound


FILES: tuple[Find, ...] = (predecessors_file, hub_clients_file)
"""Where a file that is not in our own cache is looked for, in this order."""

SNAPSHOTS: tuple[Callable[[str, str], Snapshot | None], ...] = (hub_snapshot,)
"""Where a repository (``org/name``) at a revision is looked for, when our own cache has no listing of it."""
