"""From an address to a path on this disk: what is here already, else what another program has, else the network."""

import os
import warnings
from pathlib import Path

from registry.cache import foreign
from registry.cache.cache import Cache
from registry.download import hub
from registry.download.policy import WEB, Policy
from registry.download.retries import is_transient
from registry.errors import (
    CacheCorruptError,
    FetchError,
    MissingFileError,
    NotCachedError,
    RegistryWarning,
)
from registry.files.digests import sha256_of
from registry.files.urls import redacted


def cached_path(url: str | Path, cache_dir: str | bytes | Path | None = None) -> Path:
    """The file that an address names, on this disk: fetched when it is first asked for, and kept.

    ``url`` is an ``https:``, ``http:`` or ``hub:organisation/name/file`` address; the path of a file is returned as it
    is.  Raises FetchError in its many kinds, and CacheError.
    """
    text = os.fspath(url)
    if text.lower().startswith(WEB):
        return fetch(text, Policy(cache_dir=cache_dir))
    path = Path(os.path.expanduser(text))  # noqa: PTH111  # Path.expanduser raises where there is no home
    if os.path.lexists(path):
        return path
    if "://" in text:
        hub.address(text)  # says what is wrong with it
    raise MissingFileError(f"there is no file {str(path)!r}, and it is no web address either.")


def fetch(url: str, how: Policy, *, sha256: str | None = None, size: int | None = None) -> Path:
    """The bytes of a web address, whose digest and size may be promised: from the cache, or over the network.

    Raises NotCachedError when they are not here and may not or cannot be fetched, what ``download`` raises otherwise,
    and CacheCorruptError for a damaged blob that cannot be replaced now.
    """
    address = hub.address(url)
    cache = how.cache
    if not how.update and (path := _held(address, how, sha256, size)) is not None:
        return path
    if how.is_offline:
        raise NotCachedError(
            f"{redacted(address)} is not in the cache {cache.directory}, and offline nothing is fetched.",
            hint="Where there is a network, `registry pull NAME` fetches a model into its cache.",
        )
    with cache.lock(address):
        if not how.update and (path := _held(address, how, sha256, size)) is not None:
            return path  # another process was faster
        return _fetched(address, how, sha256, size)


def held(url: str, how: Policy, *, sha256: str | None = None, size: int | None = None) -> bool:
    """Whether the bytes of a web address are on this disk, as far as can be told without reading them."""
    address = hub.address(url)
    entry = how.cache.entry(address)
    if entry is not None and sha256 in (None, entry.sha256) and size in (None, entry.size):
        path = how.cache.blob(entry.sha256) if entry.path is None else Path(entry.path)
        return path.is_file() and path.stat().st_size == entry.size
    if sha256 is not None and how.cache.blob(sha256).is_file():
        return True
    return foreign.find(address, cache_dir=how.cache.directory, sha256=sha256, verify=False) is not None


def _held(address: str, how: Policy, sha256: str | None, size: int | None) -> Path | None:
    """What needs no network: our blob, or the file of another program."""
    cache = how.cache
    try:
        path = cache.find(address, digest=sha256, size=size)
    except CacheCorruptError as problem:
        if how.is_offline:
            raise
        warnings.warn(f"{problem.message} It is fetched anew.", RegistryWarning, stacklevel=5)
        cache.quarantine(problem.path)
        path = None
    if path is None:
        path = foreign.find(address, cache_dir=cache.directory, sha256=sha256)
        if path is not None:
            cache.refer(address, path, sha256_of(path))  # so that it need not be verified the next time
    return path


def _fetched(address: str, how: Policy, sha256: str | None, size: int | None) -> Path:
    """Download; what is here already does while a server is in trouble."""
    from registry.download.body import ExpectedFile  # imports requests, which what is cached does not need
    from registry.download.download import download

    cache = how.cache
    old = _held(address, how, None, None) if how.update else None
    try:
        return download(address, cache, ExpectedFile(sha256=sha256, size=size), held=old, progress=how.progress)
    except FetchError as problem:
        if old is None or not is_transient(problem):
            raise _explained(problem, cache) from problem.__cause__
        warnings.warn(f"{problem.message} What is in the cache is used.", RegistryWarning, stacklevel=5)
        return old


def _explained(problem: FetchError, cache: Cache) -> FetchError:
    if type(problem) is NotCachedError:
        problem.hint = f"It is not in the cache {cache.directory} either."
    return problem
