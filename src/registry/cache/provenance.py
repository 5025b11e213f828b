"""Where the files of a model came from, and what they were when they came: from the cache's records, or by hashing."""

from collections.abc import Collection, Iterable, Iterator
from hashlib import file_digest
from pathlib import Path

from attrs import field, frozen, validators

from registry.archives.unpacked import FILES, contents
from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry
from registry.download import hub
from registry.download.policy import WEB
from registry.errors import FetchError
from registry.files.urls import redacted
from registry.records import Paths
from registry.sources.resolve import Source


@frozen(kw_only=True)
class Origin:
    """One file of a model, as it was when it was first used."""

    url: str = field(validator=validators.instance_of(str))
    """Its address, or that of the archive which it was in."""
    revision: str | None = field(default=None, validator=validators.optional(validators.instance_of(str)))
    """The commit, where the hub named it."""
    size: int = field(validator=validators.instance_of(int))
    """Bytes."""
    sha256: str = field(validator=validators.matches_re("[0-9a-f]{64}"))


def origins(resolution: Source, paths: Paths, cache: Cache) -> dict[str, Origin]:
    """The origin of each of these files of a model; those that no cache recorded are hashed now."""
    wanted = list(addresses(resolution))
    entries = sorted(cache.entries(), key=lambda entry: (not is_among(entry.url, wanted), entry.url))
    return {name: _origin(name, path, resolution, cache, entries) for name, path in paths.items()}


def recorded(path: Path, cache: Cache, entries: Iterable[CacheEntry]) -> tuple[CacheEntry, int, str] | None:
    """The record that a file of the cache belongs to, and the size and sha256 that it should have."""
    if path.parent.name == FILES and path.parents[2] == cache.home / "unpacked":
        archive, content = path.parents[1].name, (contents(path.parents[1]) or {}).get(path.name)
        entry = next((entry for entry in entries if entry.sha256 == archive), None)
        return None if entry is None or content is None else (entry, content.size, content.sha256)
    for entry in entries:
        if path == (cache.blob(entry.sha256) if entry.path is None else Path(entry.path)):
            return entry, entry.size, entry.sha256
    return None


def _origin(name: str, path: Path, resolution: Source, cache: Cache, entries: Collection[CacheEntry]) -> Origin:
    found = recorded(path, cache, entries)
    if found is not None:
        entry, size, sha256 = found
        return Origin(url=entry.url, revision=entry.revision or _commit(entry.url), size=size, sha256=sha256)
    with path.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    return Origin(url=_local_address(name, path, resolution), size=path.stat().st_size, sha256=sha256)


def _local_address(name: str, path: Path, resolution: Source) -> str:
    """The address of a file that needed no cache: an installed package has it, or this disk."""
    if resolution.card is not None:
        for file in resolution.card.files:
            local = [url for url in file.urls if not url.startswith(WEB)]
            if file.filename == name and local:
                return local[0]
    return f"{resolution.url}/{name}" if resolution.kind == "package" else path.resolve().as_uri()


def addresses(resolution: Source) -> Iterator[str]:
    """Where the files of a model may come from, as the cache records it: addresses, and folders of addresses."""
    if resolution.card is not None:
        urls = [url for file in resolution.card.files for url in file.urls]
        yield from (recorded_address(url) for url in (*urls, *resolution.card.archives) if url.startswith(WEB))
    elif resolution.kind == "hub":
        assert resolution.url is not None
        repository = resolution.url.removeprefix("hub:")
        yield f"{hub.HUB}/{repository}/resolve"
        yield f"{hub.HUB}/api/models/{repository}/revision"
    elif resolution.path is not None:
        yield resolution.path.resolve().as_uri()
    elif resolution.url is not None:
        yield recorded_address(resolution.url)


def recorded_address(url: str) -> str:
    """An address as the cache records it: in its one spelling, and without secrets."""
    try:
        return redacted(hub.address(url))
    except FetchError:
        return url


def is_among(url: str, wanted: Iterable[str]) -> bool:
    """Whether a recorded address is one of these, or lies in one of these folders."""
    return any(url == address or url.startswith(f"{address.rstrip('/')}/") for address in wanted)


def _commit(url: str) -> str | None:
    """The commit in an address of the hub."""
    revision = url.partition("/resolve/")[2].partition("/")[0]
    return revision if url.startswith(hub.HUB) and len(revision) == 40 else None
