"""From a URL to a path on this disk: from the cache, else from another program's cache, else over the network."""

import os
from pathlib import Path

from registry.cache.cache import Cache
from registry.cache.directories import NOWHERE, PathArgument
from registry.download import foreign, hub
from registry.download.advice import elsewhere, forbidden
from registry.download.policy import Policy
from registry.errors import (
    CacheCorruptError,
    FetchError,
    IntegrityError,
    MissingFileError,
    NotCachedError,
    UnknownOptionError,
    warn,
)
from registry.files.digests import sha256_of
from registry.files.urls import WEB, redacted, shown


def cached_path(
    url: str | os.PathLike[str],
    cache_dir: PathArgument | None = None,
    *,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
) -> Path:
    """The file at a URL, on this disk: fetched when it is first asked for, and kept.

    Args:
        url: ``https:``, ``http:`` or ``hub:organization/name/file``.  The path of a file is returned as it is.
        cache_dir: The directory of the cache, for None what the environment says; see ``docs/cache.md``.
        offline: True forbids every connection; for None, ``REGISTRY_OFFLINE``, ``HF_HUB_OFFLINE`` and
            ``TRANSFORMERS_OFFLINE`` decide.
        revision: Branch, tag or commit, for a file of the hub.
        progress: Whether a bar is shown; None shows one on a terminal.

    Returns:
        The path of a file that must not be written to.

    Raises:
        FetchError: The file is not available; its subclasses say why.
        CacheError: The cache is damaged, or cannot be written.
        UnknownOptionError: ``revision`` of a file that is not on the hub.
    """
    text = os.fspath(url)
    if revision is not None:
        text = _at_revision(text, revision)
    if text.lower().startswith(WEB):
        return fetch(text, Policy(cache_dir=cache_dir, offline=offline, progress=progress))
    if "\0" in text:
        raise MissingFileError(f"no file is named {text!r:.200}: there is a NUL in it.")
    path = Path(os.path.expanduser(text))  # noqa: PTH111  # Path.expanduser raises where there is no home
    if os.path.lexists(path):
        return path
    if "://" in text:
        hub.canonical(text)  # says what is wrong with it
    raise MissingFileError(f"there is no file {shown(str(path))}, and it is not a web URL either.")


def _at_revision(url: str, revision: str) -> str:
    found = hub.at_revision(url, revision)
    if found is None:
        raise UnknownOptionError(
            f"{redacted(url)!r} has no revisions, so revision={revision!r} has no effect.",
            hint="Only the hub has revisions.",
        )
    return found


def fetch(
    url: str,
    policy: Policy,
    *,
    sha256: str | None = None,
    size: int | None = None,
    is_listing: bool = False,
    patient: bool = True,
) -> Path:
    """The bytes at a web URL: from the cache, or over the network.

    Args:
        url: The URL.
        policy: How it is fetched.
        sha256: The digest that is promised.
        size: The bytes that are expected.
        is_listing: Whether it is a listing, see ``ExpectedFile``.
        patient: Whether a server in trouble is waited for.

    Raises:
        NotCachedError: They are not here, and may not or cannot be fetched now.
        FetchError: Whatever else ``download`` raises.
        CacheCorruptError: A damaged blob cannot be replaced now.
    """
    url = hub.canonical(url)
    cache = policy.cache
    if not policy.update and (path := _held(url, policy, sha256, size)) is not None:
        return path
    if policy.is_offline:
        raise NotCachedError(
            f"{redacted(url)} is not in {_named(cache)}, and {forbidden()} forbids downloads.", hint=elsewhere("NAME")
        )
    with cache.lock(url):
        if not policy.update and (path := _held(url, policy, sha256, size)) is not None:
            return path  # another process was faster
        return _fetched(url, policy, sha256, size, is_listing=is_listing, patient=patient)


def is_held(url: str, policy: Policy, *, sha256: str | None = None, size: int | None = None) -> bool:
    """Whether the bytes at a web URL are on this disk, as far as it shows without reading them."""
    url = hub.canonical(url)
    cache = policy.cache
    entry = cache.entry(url)
    if entry is not None and sha256 in (None, entry.sha256) and size in (None, entry.size):
        path = cache.blob(entry.sha256) if entry.path is None else Path(entry.path)
        return path.is_file() and path.stat().st_size == entry.size
    if sha256 is not None and cache.blob(sha256).is_file():
        return True
    return foreign.find(url, cache_dir=cache.directory, sha256=sha256, verify=False) is not None


def _held(url: str, policy: Policy, sha256: str | None, size: int | None) -> Path | None:
    """Our blob, or the file of another program; None where neither is here."""
    cache = policy.cache
    try:
        path = cache.find(url, digest=sha256, size=size)
    except CacheCorruptError as problem:
        if policy.is_offline:
            raise
        warn(f"{problem.message} It is downloaded again.")
        cache.quarantine(problem.path)
        path = None
    if path is None:
        path = foreign.find(url, cache_dir=cache.directory, sha256=sha256)
        if path is not None:
            cache.refer(url, path, sha256_of(path))  # so that it need not be verified the next time
    return path


def _fetched(
    url: str, policy: Policy, sha256: str | None, size: int | None, *, is_listing: bool, patient: bool
) -> Path:
    """Download; while a server is in trouble, what the cache has is returned."""
    from registry.download.body import ExpectedFile  # imports requests, which cached files do not need
    from registry.download.download import download
    from registry.download.retries import is_transient

    cache = policy.cache
    old = _held(url, policy, None, None) if policy.update else None
    pinned = None if policy.update or is_listing or sha256 is not None else cache.entry(url)
    expected = ExpectedFile(sha256=sha256, size=size, is_listing=is_listing)
    if pinned is not None and size in (None, pinned.size):  # the bytes are gone, and what they were is not
        expected = ExpectedFile(sha256=pinned.sha256, size=pinned.size)
    try:
        return download(url, cache, expected, held=old, progress=policy.progress, patient=patient)
    except FetchError as problem:
        if type(problem) is IntegrityError and pinned is not None:
            problem.hint = (
                "That is what it was when it was first used, and the file is no longer here. `registry pull --update "
                "NAME` takes what the server has now."
            )
        if old is None or not is_transient(problem):
            raise _explained(problem, cache) from problem.__cause__
        warn(f"{problem.message} What is in the cache is used.")
        return old


def _explained(problem: FetchError, cache: Cache) -> FetchError:
    if type(problem) is NotCachedError:
        problem.details = f"{problem.details or ''}\nIt is not in {_named(cache)} either.".lstrip()
    return problem


def _named(cache: Cache) -> str:
    if cache.directory == NOWHERE:
        return "the caches of other programs (there is none of ours, since no home directory is known)"
    return f"the cache {cache.directory}"
