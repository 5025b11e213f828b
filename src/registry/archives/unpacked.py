"""Archives of models, on this disk or on the web: unpacked when they are first used, and kept by their digest."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from registry import discovery
from registry.cache.cache import Cache
from registry.cache.unpacked import FILES, complete_files, discard_incomplete, write_manifest
from registry.discovery.filenames import config_names
from registry.download import hub
from registry.download.fetch import fetch
from registry.download.policy import Policy
from registry.errors import ArchiveError, CacheError, CorruptArchiveError, MissingFileError
from registry.files.digests import sha256_of
from registry.files.filenames import WEIGHTS_NAMES, is_weights
from registry.files.urls import name_in, split_digest
from registry.formatting import first_of, plural
from registry.records import Paths, WeightLoaderSpec


def of_local_archive(path: Path, policy: Policy) -> Paths:
    """The files of an archive on this disk; it is hashed when it is first used, and when it has changed since.

    Raises:
        ArchiveError: What ``unpack`` raises, and for an archive without a model.
        MissingFileError: The archive cannot be read.
        CacheError: The cache cannot be used.
    """
    path = path.resolve()
    url = path.as_uri()
    cache = policy.cache
    known = cache.entry(url) if cache.find(url) == path else None
    if known is not None:
        return _unpacked(path, known.sha256, cache, path.name)
    try:
        digest = sha256_of(path)
    except OSError as problem:
        raise MissingFileError(f"the archive {str(path)!r} cannot be read: {problem.strerror}.") from problem
    cache.refer(url, path, digest)  # first, since what has no name may be removed
    return _unpacked(path, digest, cache, path.name)


def of_web_archive(url: str, policy: Policy, *, patient: bool = True) -> Paths:
    """The files of an archive on the web; one that is damaged or without a model is fetched again the next time.

    Args:
        url: The URL; after ``#sha256=`` it may promise a digest.
        policy: How the archive is fetched.
        patient: Whether a server in trouble is waited for.

    Raises:
        IntegrityError: The archive has another digest than the URL promises.
        FetchError: Whatever else ``fetch`` raises.
        ArchiveError: What ``unpack`` raises, and for an archive without a model.
    """
    plain, promised = split_digest(url)
    canonical = hub.canonical(plain)
    path = fetch(canonical, policy, sha256=promised, patient=patient)
    cache = policy.cache
    entry = cache.entry(canonical)
    if entry is None:  # it is another program's, and nothing can be written here
        return of_local_archive(path, policy)
    try:
        return _unpacked(path, entry.sha256, cache, name_in(canonical))
    except ArchiveError:
        with suppress(CacheError):
            cache.forget(canonical)
        raise


def in_role(paths: Paths, role: str, filenames: Collection[str]) -> Paths:
    """Those files of an archive that play a role; for other roles than the configuration, by their ``filenames``."""
    if role == "config":
        names = [name for name in config_names() if name in paths][:1]
    elif role == "weights":
        names = [name for name in paths if is_weights(name) or name in filenames]
    else:
        names = [name for name in filenames if name in paths]
    return {name: paths[name] for name in names}


# --- Unpacking, once --------------------------------------------------------------------------------------------------


def _unpacked(archive: Path, digest: str, cache: Cache, called: str) -> Paths:
    def write(directory: Path) -> None:
        from registry.archives.unpack import unpack  # imports tarfile and zipfile, which unpacked files do not need

        cache.sweep()
        (directory / FILES).mkdir()
        try:
            written = unpack(archive, directory / FILES, called=called)
        except FileNotFoundError as problem:
            if archive.exists():
                raise
            raise MissingFileError(f"{called} was removed while it was unpacked.", hint="Load it again.") from problem
        _check_complete({name: directory / FILES / name for name in written}, called)
        write_manifest(directory, written)

    found = complete_files(cache.unpack(digest, write))
    if found is None:  # somebody removed or changed files of it
        discard_incomplete(digest, cache)
        found = complete_files(cache.unpack(digest, write))
    if found is None:
        raise CacheError(f"{cache.unpacked(digest)} changes while it is read.")
    return found


def _check_complete(paths: Paths, called: str) -> None:
    """Refuse an archive without a model."""
    names = config_names()
    missing = []
    if not any(name in paths for name in names):
        missing.append(f"a configuration ({' or '.join(names)})")
    if not any(map(is_weights, paths)) and not _is_read_by_plugin(paths):
        missing.append(f"weights ({', '.join(name for pair in WEIGHTS_NAMES for name in pair)}, or those of a plugin)")
    if not paths:
        raise CorruptArchiveError(f"{called} is an archive without a file, and so without a model.")
    if missing:
        raise CorruptArchiveError(
            f"{called} holds no model: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing from its "
            f"{plural(len(paths), 'file')} ({first_of(sorted(paths), 5)}).",
            hint="Files at the top of the archive count, or those in the only directory there.",
        )


def _is_read_by_plugin(paths: Paths) -> bool:
    return any(spec.detect.load()(paths) for spec in discovery.every(WeightLoaderSpec))
