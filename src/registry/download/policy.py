"""How files are fetched: cache directory, offline, progress, update."""

from typing import TYPE_CHECKING, Self

from attrs import evolve, frozen

from registry.cache.directories import PathArgument, cache_directory
from registry.download.advice import OFFLINE
from registry.errors import CacheError, ConflictingOptionsError
from registry.files.environment import flag

if TYPE_CHECKING:
    from registry.cache.cache import Cache


@frozen(kw_only=True, eq=False, repr=False)
class Policy:
    """How files are fetched; every door that fetches takes these fields as keywords.

    Raises:
        ConflictingOptionsError: ``update`` is asked for offline.
        ConfigError: A variable of the environment is neither yes nor no.
    """

    cache_dir: PathArgument | None = None
    """The directory of the cache; see ``cache_directory``."""
    offline: bool | None = None
    """True forbids every connection; for None, the variables ``OFFLINE`` decide."""
    progress: bool | None = None
    """Whether a bar is shown; None shows one on a terminal."""
    update: bool = False
    """Whether files that are in the cache are fetched again."""
    requests_absent: bool = False
    """Whether files are requested that a server did not have the last time."""

    def __attrs_post_init__(self) -> None:
        if self.update and self.is_offline:
            raise ConflictingOptionsError(
                "Files cannot be updated offline.",
                hint=f"Leave out one of the two; the variables {', '.join(OFFLINE)} mean offline, too.",
            )

    @property
    def is_offline(self) -> bool:
        """Whether no connection may be opened.  Raises ConfigError where a variable is neither yes nor no."""
        if self.offline is not None:
            return self.offline
        said = [flag(name) for name in OFFLINE]  # all are checked
        return any(said)

    @property
    def cache(self) -> "Cache":
        """The cache that is read and written; where no home directory is known, writing raises CacheError."""
        from registry.cache.cache import Cache  # models in directories need none

        return Cache.at(self.cache_dir)

    def settled(self) -> Self:
        """The same policy, with what the environment says now in place of None."""
        try:
            cache_dir: PathArgument | None = cache_directory(self.cache_dir)
        except CacheError:  # models in directories need no cache; for others it is raised when they need it
            cache_dir = self.cache_dir
        return evolve(self, cache_dir=cache_dir, offline=self.is_offline)
