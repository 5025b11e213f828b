"""How files are fetched: cache directory, offline, progress, update."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import evolve, frozen

from registry.cache.directories import cache_directory
from registry.errors import CacheError, ConflictingOptionsError

if TYPE_CHECKING:
    from registry.cache.cache import Cache

_TRUE = frozenset(["1", "ON", "YES", "TRUE"])


@frozen(kw_only=True)
class Policy:
    """How files are fetched; every door that fetches takes these fields as keywords.

    Raises:
        ConflictingOptionsError: ``update`` is asked for offline.
    """

    cache_dir: str | bytes | Path | None = None
    """The directory of the cache; see ``cache_directory``."""
    offline: bool | None = None
    """True forbids every connection; for None, ``REGISTRY_OFFLINE`` and ``HF_HUB_OFFLINE`` decide."""
    progress: bool | None = None
    """Whether a bar is shown; None shows one on a terminal."""
    update: bool = False
    """Whether files that are in the cache are fetched again."""

    def __attrs_post_init__(self) -> None:
        if self.update and self.is_offline:
            raise ConflictingOptionsError(
                "Files cannot be updated offline.",
                hint="Leave out one of the two; REGISTRY_OFFLINE and HF_HUB_OFFLINE mean offline, too.",
            )

    @property
    def is_offline(self) -> bool:
        """Whether no connection may be opened."""
        if self.offline is not None:
            return self.offline
        return any(os.environ.get(name, "").upper() in _TRUE for name in ("REGISTRY_OFFLINE", "HF_HUB_OFFLINE"))

    @property
    def cache(self) -> "Cache":
        """The cache that is read and written.  Raises CacheError where no home directory is known."""
        from registry.cache.cache import Cache  # models in directories need none

        return Cache.at(self.cache_dir)

    def settled(self) -> Self:
        """The same policy, with what the environment says now in place of None."""
        try:
            cache_dir: str | bytes | Path | None = cache_directory(self.cache_dir)
        except CacheError:  # models in directories need no cache; for others it is raised when they need it
            cache_dir = self.cache_dir
        return evolve(self, cache_dir=cache_dir, offline=self.is_offline)
