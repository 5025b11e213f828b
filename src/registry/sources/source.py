"""The base class of all sources."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from attrs import field, frozen

from registry.errors import UnknownOptionError
from registry.files.urls import redacted, shown
from registry.records import Card, Paths

if TYPE_CHECKING:
    from registry.cache.cache import Cache
    from registry.download.policy import Policy
    from registry.sources.origins import Origin

Roles: TypeAlias = Collection[str] | None
"""The roles of the files that are asked for; None for all files."""


@frozen(kw_only=True)
class Source(ABC):
    """Where the files of a model are: the meaning of a name, and the rule by which it has this meaning.

    There is one subclass for each kind of source.  ``str(source)`` is a noun phrase: ``"model 'gpt2'"``.
    """

    asked: str = field(repr=shown)
    """The name that was resolved."""
    rule: str
    """Why it has this meaning: ``"it is the name of a card"``."""

    kind: ClassVar[str]
    """The kind in one word, for output that programs read."""
    noun: ClassVar[str]
    """The kind in the words of messages."""
    in_place: ClassVar[bool] = False
    """Whether its files lie together in a directory outside of the cache."""

    @property
    def card(self) -> Card | None:
        """The card, where the source is one."""
        return None

    @property
    def path(self) -> Path | None:
        """The directory, file or archive, where the source is on this disk."""
        return None

    @property
    def url(self) -> str | None:
        """The URL, where the source is one: of a web page, ``pkg:distribution/path`` or ``hub:organization/name``."""
        return None

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit of a hub repository; None for the default branch, and for what has no revisions."""
        return None

    @abstractmethod
    def files(self, roles: Roles, policy: "Policy") -> Paths:
        """The files that play one of these roles, whatever a lock file says; see ``Files.of``."""

    def names(self, policy: "Policy") -> Collection[str]:  # noqa: ARG002  # for subclasses
        """The names of all files that are known to be there, those in subdirectories with a ``/``; fetches no file."""
        return ()

    def find(self, name: str, policy: "Policy") -> Path | None:  # noqa: ARG002  # for subclasses
        """A file that plays no role, by its name; None where it is not available."""
        return None

    def promised(self, policy: "Policy") -> Mapping[str, str]:  # noqa: ARG002  # for subclasses
        """The sha256 that the source itself promises of files on this disk, by their name; see ``verify``."""
        return {}

    def generation(self) -> object:
        """What differs after the files were saved again; the same for files that nobody saves over."""
        return None

    def directory_with(self, names: Iterable[str]) -> Path | None:  # noqa: ARG002
        """The directory around a single file, where a file of one of these names is next to it."""
        return None

    def inside(self, subdirectory: str) -> str:
        """How a subdirectory of the source is named."""
        return f"{self.asked}/{subdirectory}"

    def at(self, revision: str) -> "Source":
        """The same source at a revision.

        Raises:
            UnknownOptionError: It has no revisions, or names another one.
        """
        raise UnknownOptionError(f"{self} has no revisions, so revision={revision!r} has no effect.")

    def urls(self) -> Iterator[str]:
        """URLs as the cache records them, and directories of URLs, from which the files may have come."""
        yield from ()

    def url_of(self, name: str, path: Path) -> str:  # noqa: ARG002  # for subclasses
        """The URL of a file of this source that came from no cache."""
        return path.resolve().as_uri()

    @property
    def lock_key(self) -> str | None:
        """What the source is called in a lock file; None for files on this disk, which are not locked."""
        return None

    def locked(self, files: "Mapping[str, Origin]", lock: Path, cache: "Cache") -> Self:  # noqa: ARG002
        """The same source with only the URLs, digests and revision that ``lock`` lists.

        Raises:
            LockError: The source no longer has a URL, or promises another digest.
        """
        return self

    def __str__(self) -> str:
        where = self.card.name if self.card is not None else str(self.path or redacted(self.url or ""))
        return f"{self.noun} {where!r}"


def checked_revision(source: Source, revision: str) -> str:
    """The revision, unless the source names another one.

    Raises:
        UnknownOptionError: It does.
    """
    if source.revision not in (None, revision):
        raise UnknownOptionError(
            f"{shown(source.asked)} names the revision {source.revision!r}, and revision={revision!r} another."
        )
    return revision
