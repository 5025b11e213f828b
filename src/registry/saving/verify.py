"""Compare the files of a model with what was promised."""

from collections.abc import Mapping
from pathlib import Path

from registry.cache.cache import Cache
from registry.cache.provenance import recorded
from registry.download.policy import Policy
from registry.errors import IntegrityError, MissingFileError
from registry.files.filenames import JOURNAL_NAME, MANIFEST_NAME, is_weight_like
from registry.records import Paths
from registry.saving.hashing import digests_of
from registry.saving.manifest import read_manifest
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.sources.source import Source

UNLISTED = f"not in {MANIFEST_NAME}"
"""The state of a file of weights that the manifest does not list, though there is one."""


def verify(
    name_or_dir: str | Path,
    *,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    resume: bool = True,
) -> dict[str, str]:
    """Hash every file of a model, and compare it with the digest that was promised.

    Promised is what the manifest of a saved directory or the card of a model says, else what was recorded when the file
    was first used.  Processes of a machine that call it at the same time hash each large file once.

    Args:
        name_or_dir: A directory, or anything else that ``registry.load`` takes.
        cache_dir: The directory of the cache; see ``registry.load``.
        offline: False fetches files that are not here; otherwise nothing is fetched.
        revision: Branch, tag or commit of a hub repository.
        progress: Whether a bar is shown; None shows one on a terminal.
        resume: Whether to continue a call that was interrupted within a day: large files that it hashed, and that did
            not change since, are not hashed again.

    Returns:
        File name -> ``"ok"``, ``"no digest known"``, or ``"not in registry.json"`` for files of weights that were not
        saved with the others.

    Raises:
        IntegrityError: Files are changed or missing; all are named.
        MissingFileError: There is nothing to verify.
    """
    source = resolve(name_or_dir, revision=revision)
    policy = Policy(cache_dir=cache_dir, offline=offline is not False, progress=progress)
    paths = Files(source, policy).of()
    manifest = read_manifest(paths)
    if manifest is not None:
        paths = manifest.located(paths)
    promised = _promised(source, paths, policy)
    if not any(promised.values()) and not any(map(is_weight_like, paths)):
        raise MissingFileError(
            f"there is nothing to verify: {source} is not a saved model.",
            hint=f"Digests are in the {MANIFEST_NAME} of a saved directory, on cards, and recorded with each download.",
        )
    listed = {name: paths[name] for name, digest in promised.items() if digest and name in paths}
    found = digests_of(listed, policy.cache, resume=resume, progress=progress)
    _compare(source, promised, found)
    unknown = {name: "no digest known" for name, digest in promised.items() if not digest}
    if manifest is not None:
        unknown |= {name: UNLISTED for name in unknown if is_weight_like(name)}
    return {name: unknown.get(name, "ok") for name in promised}


def _compare(source: Source, promised: Mapping[str, str | None], found: Mapping[str, str]) -> None:
    """Raise IntegrityError, which names all files that differ or are missing."""
    bad = [
        f"{name} is {'changed' if name in found else 'missing'}"
        for name, digest in promised.items()
        if digest and found.get(name) != digest
    ]
    if bad:
        raise IntegrityError(
            f"{source} does not match its digests: {'; '.join(bad)}.",
            hint="Their sha256 digests differ. Fetch or save the model again.",
        )


def _promised(source: Source, paths: Paths, policy: Policy) -> dict[str, str | None]:
    """The sha256 that each file should have, by its name: None where none is known."""
    promised: dict[str, str | None] = {name: None for name in paths if name not in (MANIFEST_NAME, JOURNAL_NAME)}
    manifest = read_manifest(paths)
    if manifest is not None:
        promised.update({name: digest.sha256 for name, digest in manifest.files.items()})
    promised.update(_recorded(paths, policy.cache))
    promised.update({name: digest for name, digest in source.promised(policy).items() if name in paths})
    return promised


def _recorded(paths: Paths, cache: Cache) -> Mapping[str, str]:
    """The digests that the cache recorded of its files."""
    entries = list(cache.entries())
    found = {name: recorded(path, cache, entries) for name, path in paths.items()}
    return {name: entry.sha256 for name, entry in found.items() if entry is not None}
