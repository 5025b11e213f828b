"""``pull``: a whole model in the cache, to be used where there is no network."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from os import link
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from registry.cache.cache import Cache
from registry.download.policy import Policy
from registry.errors import CacheError, FetchError, MissingFileError, warn
from registry.files.digests import sha256_of
from registry.files.filenames import ADAPTER_CONFIG_NAME, TOKENIZER_CONFIG_KEYS, TOKENIZER_CONFIG_NAME, is_weights
from registry.files.strict_json import read_json_object
from registry.records import ROLES, Paths
from registry.sources.files import Files
from registry.sources.resolve import resolve, resolve_base
from registry.sources.source import Source


@frozen(kw_only=True)
class PullResult:
    """A model whose files are all on this disk."""

    path: Path
    """A directory with its files under their published names."""
    files: Mapping[str, str]
    """File -> ``fetched``, or in an update of what was here ``added``, ``changed``, ``unchanged`` or ``removed``."""


def pull(
    name: str | Path,
    update: bool = False,
    *,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
) -> Path:
    """Download all files of a model into the cache; it then loads without a network.

    With an adapter of PEFT come the files of its base model, which are read from the cache.

    What a server did not have the last time is requested again.

    Args:
        name: A name, URL, hub repository or path, as for ``registry.load``.
        update: Whether to look for newer files; a warning names each that changed or was removed.
        cache_dir: The directory of the cache; None reads the environment, see ``docs/cache.md``.
        offline: True forbids every connection; for None, ``REGISTRY_OFFLINE`` and ``HF_HUB_OFFLINE`` decide.
        revision: Branch, tag or commit, for a model that is on the hub.
        progress: Whether a bar is shown; None shows one on a terminal.

    Returns:
        A directory with the files under their published names, which loads like any other.  It shares its files with
        the cache where the disk can do that.

    Raises:
        UnknownModelError: The name means nothing.
        FetchError: A file is not available.
        MissingFileError: The model has no files.
        ConflictingOptionsError: An update is asked for offline.
    """
    return pull_files(
        name, update=update, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress
    ).path


def pull_files(
    name: str | Path,
    *,
    update: bool = False,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
) -> PullResult:
    """``pull``, with the outcome for each file."""
    policy = Policy(cache_dir=cache_dir, offline=offline, progress=progress, update=update, requests_absent=True)
    return _pulled(resolve(name, revision=revision), policy)


def _pulled(source: Source, policy: Policy, *, is_base: bool = False) -> PullResult:
    """The files of a source and, where these are an adapter, those of its base model as well.

    What a base model says of a base of its own is not followed: it may be itself.
    """
    before = _digests_here(source, policy)
    after = Files(source, policy).of()
    if not after:
        raise MissingFileError(f"{source} has no files that are known to belong to a model.")
    digests = {file: _digest(path) for file, path in after.items()}
    if not is_base and ADAPTER_CONFIG_NAME in after and not any(map(is_weights, after)):
        config = after[ADAPTER_CONFIG_NAME]
        _pulled(resolve_base(config, read_json_object(config)), policy, is_base=True)
    states = _states(before, digests, update=policy.update)
    for file, state in states.items():
        if state == "changed":
            told = f"{file} changed; its sha256 was {before[file]}, and is {digests[file]}."
        elif state == "removed":
            told = f"{file} was removed, and is no longer part of the model."
        else:
            continue
        warn(f"{source}: {told}")
    if source.in_place:
        return PullResult(path=next(iter(after.values())).parent, files=states)
    options = {} if source.card is None else source.card.tokenizer
    model = source.lock_key or next(source.urls())
    return PullResult(path=_directory_of(model, after, digests, options, policy.cache), files=states)


def _states(before: Mapping[str, str], now: Mapping[str, str], *, update: bool) -> dict[str, str]:
    """The state of each file, by its digests."""
    states = {file: "unchanged" if before.get(file) == digest else "changed" for file, digest in now.items()}
    states |= dict.fromkeys(now.keys() - before.keys(), "added" if update and before else "fetched")
    return states | dict.fromkeys(sorted(before.keys() - now.keys()), "removed")


def _digests_here(source: Source, policy: Policy) -> Mapping[str, str]:
    """The digests of those files that need no network."""
    files = Files(source, evolve(policy, offline=True, update=False))
    roles = ROLES if source.card is None else {file.role for file in source.card.files} or ROLES
    found: dict[str, str] = {}
    for asked in (*((role,) for role in roles), ()):
        with suppress(FetchError, CacheError):
            found |= {file: _digest(path) for file, path in files.of(*asked).items() if file not in found}
    return found


def _digest(path: Path) -> str:
    is_blob = len(path.name) == 64 and path.parent.parent.name == "blobs"
    return path.name if is_blob else sha256_of(path)


def _directory_of(
    model: str, paths: Paths, digests: Mapping[str, str], options: Mapping[str, Any], cache: Cache
) -> Path:
    """The directory of the files of a model, made of links to them where the disk can, else of copies.

    Options of the tokenizer on the card, which no file has, are written next to them: casing belongs to weights.
    """
    keys = {TOKENIZER_CONFIG_KEYS.get(name, name): value for name, value in options.items()}
    tokenizer_config = json.dumps(keys, indent=2) + "\n"
    listing = "".join(f"{digests[name]}  {name}\n" for name in sorted(paths)) + tokenizer_config

    def fill(directory: Path) -> None:
        for name, path in paths.items():
            (directory / name).parent.mkdir(exist_ok=True)
            try:
                link(path.resolve(), directory / name)  # another program's may be a symbolic link
            except OSError:
                shutil.copyfile(path, directory / name)
        if options and TOKENIZER_CONFIG_NAME not in paths:
            (directory / TOKENIZER_CONFIG_NAME).write_text(tokenizer_config, "utf-8")

    name = sha256(listing.encode()).hexdigest()
    cache.mark_pulled(model, name)
    return cache.unpack(name, fill)
