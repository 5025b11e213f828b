"""Bring a whole model into the cache, to be used where there is no network."""

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from os import link
from pathlib import Path
from typing import Any

from attrs import frozen

from registry.cache.cache import Cache
from registry.errors import CacheError, FetchError, MissingFileError, RegistryWarning
from registry.records import Paths
from registry.sources.files import collect
from registry.sources.resolve import Source, resolve

TOKENIZER_CONFIG = "tokenizer_config.json"
PUBLISHED = {"max_len": "model_max_length"}
"""Options of tokenizers whose key in that file is another word."""


@frozen(kw_only=True)
class PullResult:
    """A model that is on this disk whole."""

    path: Path
    """A folder with its files under their published names."""
    files: Mapping[str, str]
    """What became of each file: ``fetched``, ``changed``, or ``unchanged`` where it was here before."""


def pull(name: str | Path, update: bool = False) -> Path:  # the signature of DESIGN §6
    """Bring all files of a model into the cache, by name or address; returns a folder with them.

    The folder shares its files with the cache where the disk can do that, and loads like any other.  With ``update``,
    files that are here are fetched anew, and a warning names each that changed.

    Raises what ``collect`` raises, MissingFileError for a model without files, and ConflictingOptionsError for an
    update offline.
    """
    return pull_files(name, update=update).path


def pull_files(
    name: str | Path,
    *,
    update: bool = False,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    progress: bool | None = None,
) -> PullResult:
    """``pull``, with what became of each file."""
    resolution = resolve(name, revision=revision)
    before = _here(resolution, cache_dir)
    after = collect(resolution, cache_dir=cache_dir, update=update, progress=progress)
    if not after:
        raise MissingFileError(f"{resolution} has no files that are known to belong to a model.")
    digests = {file: _digest(path) for file, path in after.items()}
    states = {
        file: "fetched" if file not in before else "unchanged" if before[file] == digest else "changed"
        for file, digest in digests.items()
    }
    for file in (file for file, state in states.items() if state == "changed"):
        warnings.warn(
            f"{resolution}: {file} changed; its sha256 was {before[file]}, and is {digests[file]}.",
            RegistryWarning,
            stacklevel=3,
        )
    if resolution.kind in ("directory", "file", "package"):
        return PullResult(path=next(iter(after.values())).parent, files=states)
    options = {} if resolution.card is None else resolution.card.tokenizer
    return PullResult(path=_folder(Cache.at(cache_dir), after, digests, options), files=states)


def _here(resolution: Source, cache_dir: str | Path | None) -> Mapping[str, str]:
    """The digests of those files that need no network; none where one is missing."""
    with suppress(FetchError, CacheError):
        return {file: _digest(path) for file, path in collect(resolution, cache_dir=cache_dir, offline=True).items()}
    return {}


def _digest(path: Path) -> str:
    if len(path.name) == 64 and path.parent.parent.name == "blobs":
        return path.name
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _folder(cache: Cache, paths: Paths, digests: Mapping[str, str], options: Mapping[str, Any]) -> Path:
    """The folder of these files, made of links to them where the disk can, else of copies.

    Options of the tokenizer that stand on the card, and in no file, are written beside them: casing belongs to weights.
    """
    described = json.dumps({PUBLISHED.get(name, name): value for name, value in options.items()}, indent=2) + "\n"
    listing = "".join(f"{digests[name]}  {name}\n" for name in sorted(paths)) + described

    def fill(folder: Path) -> None:
        for name, path in paths.items():
            try:
                link(path, folder / name)
            except OSError:
                shutil.copyfile(path, folder / name)
        if options and TOKENIZER_CONFIG not in paths:
            (folder / TOKENIZER_CONFIG).write_text(described, "utf-8")

    return cache.unpack(sha256(listing.encode()).hexdigest(), fill)
