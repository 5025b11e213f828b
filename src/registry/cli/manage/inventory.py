"""The cache by model: which bytes belong to which, so that the sizes add up to what the cache takes on the disk."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from registry import discovery
from registry.cache.cache import Cache
from registry.cache.entry import PULL, CacheEntry, PulledDirectory
from registry.download import hub
from registry.records import Card
from registry.sources.card import CardSource

Identity: TypeAlias = tuple[int, int]
"""Device and number of a file: a file with several names, or links, is one."""

OTHER = {
    "refs": "records",
    "locks": "records",
    "partial": "interrupted downloads",
    "quarantine": "damaged files",
    "blobs": "of no model",
    "unpacked": "of no model",
}
"""What a file is that belongs to no model, by the directory that it is in."""
SHARED = "shared by several models"


@frozen(kw_only=True)
class CachedModel:
    """A model, or a URL, of which the cache has files."""

    model: str
    """Its name, hub repository or URL."""
    files: int
    size: int
    """Bytes of the files that only this model has."""
    fetched: str | None
    """When its last file was downloaded, in UTC."""


@frozen(kw_only=True)
class Inventory:
    """All bytes of a cache."""

    directory: Path
    total: int
    """Bytes on the disk: the sum of those of all models, and of all others."""
    models: list[CachedModel]
    """The largest first."""
    other: Mapping[str, int]
    """Bytes that belong to no model, or to several, by what they are."""


def take_inventory(cache: Cache) -> Inventory:
    """Assign every file of the cache to the models that have it."""
    sizes, other_of = _on_disk(cache)
    owners: dict[Identity, set[str]] = {}
    fetched: dict[str, str] = {}
    names = _names_of_cards()
    models: dict[str, set[Identity]] = {}
    for _, record in cache.records():
        if not isinstance(record, CacheEntry | PulledDirectory):
            continue
        name = _model_of(record.url, names)
        found = {identity for path in _files_of(record, cache) if (identity := _identity(path)) is not None}
        models.setdefault(name, set()).update(found)
        for identity in found:
            owners.setdefault(identity, set()).add(name)
        if isinstance(record, CacheEntry) and record.fetched:
            fetched[name] = max(record.fetched, fetched.get(name, ""))
    other: dict[str, int] = {}
    own = dict.fromkeys(models, 0)
    for identity, size in sizes.items():
        having = owners.get(identity, set())
        if len(having) == 1:
            own[next(iter(having))] += size
        else:
            kind = SHARED if having else other_of[identity]
            other[kind] = other.get(kind, 0) + size
    listed = [
        CachedModel(model=name, files=len(files), size=own[name], fetched=fetched.get(name))
        for name, files in models.items()
    ]
    listed.sort(key=lambda model: (-model.size, model.model))
    return Inventory(directory=cache.home, total=sum(sizes.values()), models=listed, other=other)


def _on_disk(cache: Cache) -> tuple[dict[Identity, int], dict[Identity, str]]:
    """Size and kind of every file of the cache."""
    sizes: dict[Identity, int] = {}
    kinds: dict[Identity, str] = {}
    for path in cache.home.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                status = path.lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
                kinds[status.st_dev, status.st_ino] = OTHER.get(path.relative_to(cache.home).parts[0], "records")
    return sizes, kinds


def _files_of(record: CacheEntry | PulledDirectory, cache: Cache) -> Iterator[Path]:
    """The files that are there because of a record."""
    if isinstance(record, PulledDirectory):
        yield from cache.unpacked(record.directory).rglob("*")
    else:
        yield cache.blob(record.sha256) if record.path is None else Path(record.path)
        yield from cache.unpacked(record.sha256).rglob("*")


def _identity(path: Path) -> Identity | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if path.is_file() else None


def _names_of_cards() -> dict[str, str]:
    """The name of the card for each URL and each alias of a card."""
    found: dict[str, str] = {}
    for card in discovery.every(Card):
        urls = CardSource(asked=card.name, rule="", card=card).urls()
        found |= dict.fromkeys((*urls, *card.aliases), card.name)
    return found


def _model_of(url: str, names: Mapping[str, str]) -> str:
    """The model to which a URL of the cache belongs: a card, a repository of the hub, else the URL itself."""
    name = url.removeprefix(PULL)
    if name == url:
        name = names.get(url) or hub.repository_of(url) or url
    elif "://" not in name:  # a card or a repository, at a revision
        name = name.removeprefix("hub:").partition("@")[0]
    return names.get(name, name)


def other_rows(inventory: Inventory) -> Iterator[tuple[str, int]]:
    """What belongs to no model alone, in parentheses, with its bytes."""
    for kind, size in sorted(inventory.other.items(), key=lambda item: -item[1]):
        if size:
            yield f"({kind})", size
