"""What is told to whatever fetches a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from registry.errors import ConflictingOptionsError

if TYPE_CHECKING:
    from registry.cache.cache import Cache

WEB = ("https:", "http:", "hub:")
"""Beginnings of the addresses which are fetched."""

_TRUE = frozenset(["1", "ON", "YES", "TRUE"])


@frozen(kw_only=True)
class Policy:
    """How files are fetched."""

    cache_dir: str | bytes | Path | None = None
    """The cache's folder; see ``cache_directory``."""
    offline: bool | None = None
    """True forbids every connection; None asks ``REGISTRY_OFFLINE`` and ``HF_HUB_OFFLINE``."""
    progress: bool | None = None
    """Whether a bar is shown; None shows one on a terminal."""
    update: bool = False
    """Fetch anew what is here."""

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
        """The cache that is read and written."""
        from registry.cache.cache import Cache  # models in folders need none

        return Cache.at(self.cache_dir)
