"""Files that other programs keep on this disk: used where they lie, never changed, never copied.

Two programs are known: the ancestor, and the client of the hub.  Both name a file by what its server called its content
(the ETag), and that is a digest wherever files of models come from: of the hub (sha256 for large files, the sha1 of git
for others) and of S3 (md5, or md5 of the md5 of its parts).  A file is used when its bytes have that digest, or the
sha256 that a card promises; a file whose name carries none is used only with such a promise.
"""

import hashlib
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from attrs import frozen

from registry.errors import ConfigError, RegistryError, RegistryWarning
from registry.files.etags import matches_etag
from registry.files.strict_json import read_json_object
from registry.sources.resolve import find_card


class Find(Protocol):
    """Looks for a file in the cache of another program."""

    def __call__(self, url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:
        """The file which this address held, or None.

        ``url`` is normalised, and of the hub itself whatever ``HF_ENDPOINT`` says; ``cache_dir`` is our cache's folder.
        With ``verify``, the bytes have been compared with ``sha256``, if that is given, or with the digest that the
        file's name carries; without, only existence was looked at (for listings).  Raises nothing.
        """


@frozen
class Snapshot:
    """A commit of a hub repository of which another program holds files."""

    commit: str
    names: frozenset[str]
    """Files of that commit which it holds; often not all."""


def find(url: str, *, cache_dir: Path, sha256: str | None = None, verify: bool = True) -> Path | None:
    """The first answer of ``FILES``."""
    answers = (source(url, cache_dir=cache_dir, sha256=sha256, verify=verify) for source in FILES)
    return next(filter(None, answers), None)


def snapshot(repository: str, revision: str) -> Snapshot | None:
    """The first answer of ``SNAPSHOTS``."""
    return next(filter(None, (source(repository, revision) for source in SNAPSHOTS)), None)


# --- The ancestor -----------------------------------------------------------------------------------------------------

OLD_FOLDER = "~/.pytorch_pretrained_bert"
"""Where its releases kept files before they moved under torch's home."""


def ancestors_file(url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:
    """The newest sound entry ``sha256(url).sha256(etag)`` in our cache's folder, or in the ancestor's older one.

    The ancestor kept error pages as readily as models; those have no ETag, or one that is not their digest.
    """
    for folder in (cache_dir, Path(os.path.expanduser(OLD_FOLDER))):  # noqa: PTH111  # Path.expanduser may raise
        for path in _newest_first(folder, _sha256(url)):
            etag = _recorded_etag(path, url)
            if (etag or sha256) and (not verify or _is_sound(path, etag or "", sha256)):
                return path
    return None


def _newest_first(folder: Path, name: str) -> list[Path]:
    try:
        entries = [entry for entry in os.scandir(folder) if re.fullmatch(rf"{name}(\.[0-9a-f]{{64}})?", entry.name)]
        files = [(entry.stat().st_mtime_ns, Path(entry.path)) for entry in entries if entry.is_file()]
    except OSError:
        return []
    return [path for _, path in sorted(files, reverse=True)]


def _recorded_etag(path: Path, url: str) -> str | None:
    """The ETag that the note beside an entry gives, if the entry's name and address agree with it."""
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

HUB_FILE = re.compile(r"https://huggingface\.co/((?:[\w.-]+/)?[\w.-]+)/resolve/([^/]+|refs/pr/\d+)/(.+)")
COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_cache() -> Path:
    """Where the client of the hub keeps files: what the environment says now, else its own place for them."""
    folder = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if not folder:
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = f"{os.environ.get('HF_HOME') or f'{caches}/huggingface'}/hub"
    return Path(os.path.expandvars(os.path.expanduser(folder)))  # noqa: PTH111  # Path.expanduser may raise


def hub_file(url: str, *, cache_dir: Path, sha256: str | None, verify: bool) -> Path | None:  # noqa: ARG001
    """The file of a repository at a revision, in the cache of the hub's client."""
    parts = HUB_FILE.fullmatch(url.partition("?")[0])
    if parts is None:
        return None
    repository, revision, name = (unquote(part) for part in parts.groups())
    for folder in _repositories(repository):
        commit = _commit(folder, revision)
        path = _inside(folder / "snapshots" / commit, name) if commit else None
        if path is not None and path.is_file() and (not verify or _is_sound(path, _linked_name(path), sha256)):
            return path
    return None


def hub_snapshot(repository: str, revision: str) -> Snapshot | None:
    """The commit which a revision was when the hub's client last asked, and the files that it holds of it."""
    for folder in _repositories(repository):
        commit = _commit(folder, revision)
        if commit:
            home = folder / "snapshots" / commit
            names = frozenset(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
            if names:
                return Snapshot(commit, names)
    return None


def _repositories(repository: str) -> Iterator[Path]:
    """The folders of a repository: its own, and that of its name before the hub's first models got organisations."""
    yield hub_cache() / f"models--{repository.replace('/', '--')}"
    name = repository.rpartition("/")[2]
    older = hub_cache() / f"models--{name}"
    if name != repository and older.is_dir():
        with suppress(RegistryError):  # two plugins may quarrel about it
            card = find_card(repository)
            if card is not None and card.name == name:  # else the two have nothing to do with each other
                yield older


def _commit(folder: Path, revision: str) -> str | None:
    if not COMMIT.fullmatch(revision):
        ref = _inside(folder / "refs", revision)
        try:
            revision = "" if ref is None else ref.read_text("ascii")[:100].strip()
        except (OSError, ValueError):
            return None
    return revision if COMMIT.fullmatch(revision) else None


def _inside(folder: Path, name: str) -> Path | None:
    """``folder/name``, unless the name leads out of the folder."""
    parts = name.split("/")
    return None if {"", ".", ".."} & set(parts) or "\\" in name or "\0" in name else folder.joinpath(*parts)


def _linked_name(path: Path) -> str:
    """The name of the blob that a file of a snapshot points to: the hub's ETag.  A copy (on Windows) has none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


# --- Verification -----------------------------------------------------------------------------------------------------


def _is_sound(path: Path, etag: str, sha256: str | None) -> bool:
    """Whether a regular file has the sha256 that was promised, else the digest that its ETag is; warns if not."""
    expected = sha256 or etag.removeprefix("W/").strip('"').lower()
    try:
        sound = bool(stat.S_ISREG(path.stat().st_mode) and matches_etag(expected, path))
    except OSError:
        return False
    if not sound and re.fullmatch("[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", expected):
        warnings.warn(
            f"{path} is passed over: it was damaged, or never was what its name says (its digest is not {expected}).",
            RegistryWarning,
            stacklevel=5,
        )
    return sound


FILES: tuple[Find, ...] = (ancestors_file, hub_file)
"""Asked in this order for a file that our own cache lacks."""

SNAPSHOTS: tuple[Callable[[str, str], Snapshot | None], ...] = (hub_snapshot,)
"""Asked with repository (``org/name``) and revision, where our own cache has no listing of it."""
