"""How files are fetched: cache directory, offline, progress, update."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry.errors import ConflictingOptionsError

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

    @cached_property
    def is_offline(self) -> bool:
        """Whether no connection may be opened; decided when it is first asked for."""
        if self.offline is not None:
            return self.offline
        return any(os.environ.get(name, "").upper() in _TRUE for name in ("REGISTRY_OFFLINE", "HF_HUB_OFFLINE"))

    @cached_property
    def cache(self) -> "Cache":
        """The cache that is read and written; decided when it is first asked for."""
        from registry.cache.cache import Cache  # models in directories need none

        return Cache.at(self.cache_dir)
