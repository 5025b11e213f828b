"""The layout of the cache on the disk.

::

    .registry/v1/
      refs/<sha256 of the URL>.json          a ``CacheEntry``; written after its blob, and replaced as one
      blobs/ab/<sha256 of the content>       never edited, only unlinked; read-only
      partial/<sha256 of the URL>.*          downloads under way, each private to its writer
      partial/<sha256 of paths>.digests      what ``verify`` has hashed so far; see ``saving.hashing``
      unpacked/<sha256 of an archive>/       directories made from blobs, each of which appears by one rename
      locks/<sha256 of the URL>.lock         they save bytes, and decide nothing
      quarantine/                            what was found damaged last

No name in it comes from a server.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from attrs import frozen

from registry.cache.directories import (
    NOWHERE,
    OURS,
    VERSION,
    PathArgument,
    cache_directory,
    cache_directory_or_nowhere,
)
from registry.cache.ownership import DIRECTORY_MODE, check_owner

CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# Backups may leave this directory out: https://bford.info/cachedir\n"
)


def key(url: str) -> str:
    """The name of a URL in the cache: its sha256."""
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


@frozen
class CacheLayout:
    """The paths of a cache."""

    directory: Path
    """The directory that ``cache_directory`` names; it is made when something is first written."""

    @classmethod
    def at(cls, cache_dir: PathArgument | None = None) -> Self:
        """The cache in a directory, by default where the environment says; see ``cache_directory``."""
        return cls(cache_directory_or_nowhere(cache_dir))

    @property
    def home(self) -> Path:
        """The directory of everything below, next to the files of pytorch-pretrained-bert."""
        return self.directory / OURS / VERSION

    def blob(self, digest: str) -> Path:
        """The path of the content with this sha256, whether it is there or not."""
        return self.home / "blobs" / digest[:2] / digest

    def unpacked(self, digest: str) -> Path:
        """The directory of the archive with this sha256, whether it is there or not."""
        return self.home / "unpacked" / digest

    def ref(self, url: str) -> Path:
        """The path of the record of a URL, whether it is there or not."""
        return self.home / "refs" / f"{key(url)}.json"

    def made(self, name: str) -> Path:
        """A directory of the layout, such as ``"refs"``, made if it is missing.  Raises OSError."""
        if self.directory == NOWHERE:
            cache_directory()  # says which variable is missing
        directory = self.home / name
        check_owner(directory, self.directory)
        if not directory.is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            for each in (self.home.parent, self.home, directory):
                each.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            with suppress(FileExistsError), (self.home.parent / "CACHEDIR.TAG").open("x") as file:
                file.write(CACHEDIR_TAG)
        return directory
