"""The record of one URL in the cache: what it held when it was first used, as a small file of JSON."""

import json
from pathlib import Path
from typing import Any, Self, TypeAlias

from attrs import asdict, field, fields_dict, frozen, validators

from registry.cache.reading import read_small
from registry.files.digests import FileDigest

SCHEMA = 1
LARGEST = 64 * 1024
"""Bytes of a record."""

_TEXT = validators.optional(validators.instance_of(str))


@frozen(kw_only=True)
class CacheEntry(FileDigest):
    """What a URL held when it was first used: size and sha256, and where they came from."""

    url: str = field(validator=validators.instance_of(str))
    """The URL, without user names and the values of its query."""
    mtime_ns: int = field(default=0, validator=validators.instance_of(int))
    """Modification time of the file when it was hashed; a file with another one is hashed again."""
    etag: str | None = field(default=None, validator=_TEXT)
    """The server's ETag, without quotes and ``W/``: the hub's ``X-Linked-Etag`` before ``ETag``."""
    revision: str | None = field(default=None, validator=_TEXT)
    """The commit, where the hub named it (``X-Repo-Commit``)."""
    source: str | None = field(default=None, validator=_TEXT)
    """The URL that sent the bytes after all redirects, written as ``url`` is."""
    fetched: str | None = field(default=None, validator=_TEXT)
    """Time of the download in UTC: ``2026-11-25T08:00:00+00:00``."""
    path: str | None = field(default=None, validator=_TEXT)
    """The file of another program that holds the bytes; None for a blob of the cache."""

    @classmethod
    def from_json(cls, keys: Any) -> Self:
        """The entry that ``to_json`` wrote.

        Raises:
            TypeError: A field is missing, or of another type.
            ValueError: A value is impossible.
        """
        return cls(**{name: value for name, value in keys.items() if name in fields_dict(cls)})

    def to_json(self) -> dict[str, Any]:
        """The entry as a JSON object, without the fields that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@frozen
class Absence:
    """The record of a URL at which the server had no file."""

    url: str
    """The URL, written as that of a ``CacheEntry``."""
    status: int
    """The HTTP status with which it was refused."""

    @property
    def is_final(self) -> bool:
        """Whether the server said that there is none (404, 410), rather than that it may not be read."""
        return self.status in (404, 410)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {"url": self.url, "absent": self.status}


@frozen
class PinnedRevision:
    """The record of a revision of the hub: the commit that it was when it was first used."""

    url: str
    """The directory of the files at the revision: ``https://huggingface.co/organization/name/resolve/main``."""
    commit: str = field(validator=validators.matches_re("[0-9a-f]{40}"))
    """40 hex digits."""

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {"url": self.url, "commit": self.commit}


@frozen
class PulledDirectory:
    """The record of a model whose files ``pull`` gathered in one directory."""

    url: str
    """``pull:`` and the name of the model, as ``pulled_url`` makes it."""
    directory: str = field(validator=validators.matches_re("[0-9a-f]{64}"))
    """The name of the directory in ``unpacked/``."""

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {"url": self.url, "directory": self.directory}


PULL = "pull:"


def pulled_url(model: str) -> str:
    """The key under which the directory of a pulled model is recorded."""
    return f"{PULL}{model}"


Record: TypeAlias = CacheEntry | Absence | PinnedRevision | PulledDirectory


def encode_record(record: Record) -> str:
    """The text of a record's file."""
    return json.dumps({"schema": SCHEMA, **record.to_json()}, indent=1) + "\n"


def read_record(path: Path) -> Record | None:
    """The record in a file; None where there is none, and for one that a crash or another program damaged."""
    try:
        keys = json.loads(read_small(path, LARGEST))
        if keys["schema"] != SCHEMA:
            return None
        if "absent" in keys:
            return Absence(str(keys["url"]), int(keys["absent"]))
        if "directory" in keys:
            return PulledDirectory(str(keys["url"]), keys["directory"])
        return PinnedRevision(str(keys["url"]), keys["commit"]) if "commit" in keys else CacheEntry.from_json(keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
