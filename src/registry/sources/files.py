"""The files of a source, asked for by role."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from registry.download.policy import Policy
from registry.errors import IntegrityError, RegistryError
from registry.files.filenames import is_weights
from registry.records import Paths
from registry.sources.resolve import resolve
from registry.sources.source import Source

if TYPE_CHECKING:
    from registry.files.foreign import Explanation
    from registry.sources.lockfile import Lock


class Files:
    """The files of one source under one policy: made once for each load, asked for by role.

    Whether the network may be used, which cache and which lock file count, is decided once.

    Args:
        source: Where the files are, as ``resolve`` returns it.
        policy: How they are fetched.

    Raises:
        LockError: The lock file in force is damaged, or does not list the source.
    """

    def __init__(self, source: Source, policy: Policy | None = None) -> None:
        self.source = source
        self.policy = (policy or Policy()).settled()
        self._lock = _lock_in_force()
        self._pinned = source if self._lock is None else self._lock.narrow(source, self.policy)
        self._answers: dict[frozenset[str], Paths] = {}
        self._generation: object = None

    @classmethod
    def named(
        cls,
        name: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        offline: bool | None = None,
        revision: str | None = None,
        progress: bool | None = None,
    ) -> Self:
        """The files of what has this name, path or URL, with the keywords of every public door that fetches.

        Raises:
            UnknownModelError: Nothing has this name.
            MissingFileError: A path leads nowhere.
            UnknownOptionError: ``revision`` of something without revisions.
            LockError: The lock file in force is damaged, or does not list the source.
        """
        return cls(resolve(name, revision=revision), Policy(cache_dir=cache_dir, offline=offline, progress=progress))

    def of(self, *roles: str) -> Paths:
        """The files that play one of these roles; without roles, all files.

        A directory gives all its files whatever the roles.  What was answered once is not looked for again.

        Returns:
            Published file name -> path on this disk.

        Raises:
            MissingFileError: A file is nowhere.
            NotCachedError: A file may not or cannot be fetched now.
            IntegrityError: A file differs from the size or digest that was promised.
            LockError: A file differs from the lock file that is in force.
            FetchError: Whatever else ``fetch`` raises.
        """
        asked = frozenset(roles)
        if asked not in self._answers:
            if not self._answers:
                self._generation = self.source.generation()
            found = self._pinned.files(asked or None, self.policy)
            if self._lock is not None:
                self._lock.check(self.source, found, self.policy, complete=not asked)
            self._answers[asked] = found
        return self._answers[asked]

    def whole(self) -> Paths:
        """The files that may hold all of a model; none is fetched where its weights are in files of their own.

        Raises:
            FetchError: Whatever ``of`` raises.
        """
        card = self.source.card
        names = self._pinned.names(self.policy) if card is None else [file.filename for file in card.files]
        if self.source.path is None and any(map(is_weights, names)):
            return {}
        return {**self.of("config"), **self.of("weights")}

    def find(self, name: str) -> Path | None:
        """A file by its name, which may be in a subdirectory; None where there is none.

        Raises:
            FetchError: It cannot be fetched.
        """
        for answer in self._answers.values():
            if name in answer:
                return answer[name]
        return self._pinned.find(name, self.policy)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check that files which are read, or opened, inside of the ``with`` block are of one save with those before.

        Raises:
            IntegrityError: The directory was saved over since its files were first asked for.
        """
        try:
            yield
        except Exception as problem:  # a file may be gone, or disagree with another
            if self._is_saved_over():
                raise self._saved_over() from problem
            raise
        if self._is_saved_over():
            raise self._saved_over()

    def _is_saved_over(self) -> bool:
        return bool(self._answers) and self.source.generation() != self._generation

    def _saved_over(self) -> IntegrityError:
        return IntegrityError(f"{self.source} was saved over while it was read.", hint="Load it again.")

    def explained(self) -> "Explanation":
        """What is there in place of a model, from the names that are known; for errors."""
        from registry.files.foreign import explain  # no model that loads needs it

        names = {name for answer in self._answers.values() for name in answer}
        with suppress(RegistryError):
            names.update(self._pinned.names(self.policy))
        return explain(names, self._find, self._pinned.inside)

    def _find(self, name: str) -> Path | None:
        with suppress(RegistryError):
            return self.find(name)
        return None


def files_of(
    name: str | os.PathLike[str],
    role: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
) -> Paths:
    """The files of a model that play a role, fetched where need be.

    Args:
        name: A name, path or URL.
        role: A role of ``registry.records.ROLES``, or a plugin's own.  A directory gives all its files.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download; None asks the environment.
        revision: Branch, tag or commit of a repository of the hub.
        progress: Whether downloads show a bar; None shows one on a terminal.

    Returns:
        Published file name -> path on this disk.

    Raises:
        UnknownModelError: Nothing has this name.
        FetchError: A file is not available.
    """
    files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
    return files.of(role)


def _lock_in_force() -> "Lock | None":
    if not os.environ.get("REGISTRY_LOCK"):
        return None
    from registry.sources import lockfile  # rarely needed

    return lockfile.in_force()
