"""The origin of each file of a model, from the records of the cache or by hashing."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import field, frozen, validators

from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry, pulled_url
from registry.cache.provenance import recorded
from registry.download import hub
from registry.files.digests import FileDigest
from registry.files.urls import WEB, is_at_or_below, redacted
from registry.records import Paths
from registry.sources.resolve import resolve
from registry.sources.source import Source


@frozen(kw_only=True)
class Origin(FileDigest):
    """One file of a model, as it was when it was first used."""

    url: str = field(validator=validators.instance_of(str))
    """Its URL, or that of the archive that it was in."""
    revision: str | None = field(default=None, validator=validators.optional(validators.instance_of(str)))
    """The commit, where the hub named it."""

    @classmethod
    def from_json(cls, keys: Mapping[str, Any]) -> Self:
        """The origin that ``to_json`` wrote.

        Raises:
            TypeError: It is not an object, a key is missing or unknown, or a value is of another type.
            ValueError: A value is impossible.
        """
        return cls(**keys)

    def to_json(self) -> dict[str, Any]:
        """The origin as a JSON object."""
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"url": self.url, **revision, **super().to_json()}


def origins(source: Source, paths: Paths, cache: Cache) -> dict[str, Origin]:
    """The origin of each of these files; those that no cache recorded are hashed.

    Raises:
        OSError: A file cannot be read.
    """
    wanted = list(source.urls())
    entries = sorted(cache.entries(), key=lambda entry: (not is_at_or_below(entry.url, wanted), entry.url))
    return {name: _origin(name, path, source, cache, entries) for name, path in paths.items()}


def urls_of(name: str) -> list[str]:
    """URLs as the cache records them, and directories of URLs, of a model or of one URL; also that of ``pull``.

    Raises:
        UnknownModelError: It is neither.
    """
    if name.startswith(WEB) and not name.startswith("hub:"):
        return [hub.recorded(name), pulled_url(redacted(name))]
    source = resolve(name)
    urls = list(source.urls())
    return [*urls, *map(pulled_url, [source.lock_key] if source.lock_key else urls)]


def _origin(name: str, path: Path, source: Source, cache: Cache, entries: Collection[CacheEntry]) -> Origin:
    found = recorded(path, cache, entries)
    if found is None:
        digest = FileDigest.of(path)
        return Origin(url=source.url_of(name, path), size=digest.size, sha256=digest.sha256)
    url = found.entry.url
    file = hub.hub_file(url)
    commit = None if file is None else file.commit
    return Origin(url=url, revision=found.entry.revision or commit, size=found.size, sha256=found.sha256)
