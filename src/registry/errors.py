"""Every refusal of the registry, as one tree.

::

    RegistryError
     ├─ UnknownModelError (KeyError)             no plugin, file or folder has this name
     ├─ UnknownTaskError (ValueError)            no model class for this task
     ├─ UnknownLayerError (KeyError)             no plugin declares this layer
     ├─ UnknownOptionError (TypeError)           a keyword that nothing here understands
     ├─ ArchitectureMismatchError (ValueError)   a class was given a checkpoint of another architecture
     ├─ UnsupportedError (NotImplementedError)        understood, and not built in this version
     ├─ ConflictingOptionsError (ValueError)     two options that exclude each other
     ├─ FetchError (OSError)
     │   ├─ MissingFileError (FileNotFoundError) a file which the model needs is not there
     │   │   ├─ MissingTokenizerError            ... and it is the tokenizer's
     │   │   └─ NotCachedError                   ... nor can it be fetched: offline, or the server is out of reach
     │   ├─ HTTPStatusError                      a server answered, and refused
     │   ├─ DownloadTimeoutError                 a server stalled, or sends next to nothing
     │   ├─ IncompleteDownloadError              a download was cut short, again and again
     │   ├─ UnsafeURLError                       an address that is not opened, or must not be led to
     │   └─ IntegrityError                       size or digest differ from what was promised
     │       ├─ LockError                        a model is not what the lock file says
     │       └─ UnexpectedContentError                    an error page, or a pointer, in place of the file
     ├─ CacheError (OSError)                     the cache's folder cannot be used
     │   ├─ CacheReadOnlyError                   ... for writing
     │   ├─ CacheFullError                       ... since disk or quota is full
     │   └─ CacheCorruptError                    what lies in the cache is not what was put there
     ├─ ArchiveError (ValueError)
     │   ├─ UnsafeArchiveError                   a member could land elsewhere, or means two things
     │   ├─ CorruptArchiveError                  the archive is damaged, or holds no model
     │   └─ ArchiveLimitError                    unpacking would take absurd amounts of disk or time
     ├─ InputError (ValueError)                  what a model was given to compute does not fit it
     ├─ ConfigError (ValueError)                 a configuration is damaged, or its values are impossible
     ├─ VocabError (ValueError)                  a vocabulary is damaged, or does not fit the model
     ├─ WeightsError (ValueError)
     │   ├─ AmbiguousWeightsError                two files could be meant
     │   ├─ UnsafeWeightsError                   the file could run code, or hides what it holds
     │   ├─ CorruptWeightsError                  the file is damaged
     │   ├─ WeightsLimitError                    the file asks for absurd amounts of memory
     │   └─ WeightsMismatchError                 names, shapes or types differ from the model's
     ├─ SaveError (OSError)                      a folder could not be written; what was there before is intact
     └─ PluginError (RuntimeError)
         ├─ UnknownPluginError (KeyError)        no such plugin is installed
         ├─ PluginLoadError                      a plugin failed while it was imported or asked
         ├─ PluginConflictError                  two plugins declare what was asked for
         ├─ CardFileError (ValueError)           the file of cards that REGISTRY_CARDS names is wrong
         └─ PluginIncompatibleError              a plugin breaks the hook contract

The second bases keep old ``except OSError``, ``except KeyError`` and ``except ValueError`` clauses working.

A message says what was asked, which rule was applied and what was found; ``hint`` says what to do.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_SUGGESTIONS = 3


def suggestions(word: str, words: Iterable[str]) -> tuple[str, ...]:
    """Up to three of ``words`` that ``word`` may have been meant to be; case, ``_`` and ``-`` are not told apart."""
    from difflib import get_close_matches  # most commands end without a suggestion

    spellings: dict[str, str] = {}
    for known in words:
        spellings.setdefault(_plain(known), known)
    return tuple(spellings[found] for found in get_close_matches(_plain(word), spellings, n=MOST_SUGGESTIONS))


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The sentence that offers ``suggestions``, with a space before it; empty when there is none."""
    found = [repr(known) for known in suggestions(word, words)]
    if not found:
        return ""
    return f" Did you mean {' or '.join(filter(None, [', '.join(found[:-1]), found[-1]]))}?"


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


class RegistryError(Exception):
    """Base of every error which the registry raises; survives pickling with all its attributes."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(vars(self))
        if isinstance(self, OSError):
            state["errno"] = self.errno  # no item of vars(), but a slot of OSError
        return _revive, (type(self), self.message), state


class RegistryWarning(UserWarning):
    """Something that a user should know and that did not stop the work."""


class RegistryDeprecationWarning(RegistryWarning, FutureWarning):
    """A public name or option that will be removed; shown by default, also outside of ``__main__``.

    The message has one form: ``"X is deprecated since 0.3 and will be removed in 0.5; use Y."``
    """


def _revive(cls: type[RegistryError], message: str) -> RegistryError:
    """Make an error without its constructor's keywords; pickle then restores its attributes."""
    error = cls.__new__(cls, message)
    RegistryError.__init__(error, message)
    return error


class UnknownModelError(RegistryError, KeyError):
    """No installed plugin declares a model of this name, and no file or folder has it."""

    def __init__(self, message: str, *, suggestions: Iterable[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.suggestions = tuple(suggestions)


class UnknownTaskError(RegistryError, ValueError):
    """The architecture has no model class for this task."""


class UnknownLayerError(RegistryError, KeyError):
    """No installed plugin declares a layer of this name."""


class UnknownOptionError(RegistryError, TypeError):
    """A keyword is known neither to the loader, nor to the class, nor to the configuration."""


class ArchitectureMismatchError(RegistryError, ValueError):
    """A class was asked to load a checkpoint of another architecture."""


class ConflictingOptionsError(RegistryError, ValueError):
    """Two options exclude each other."""


class UnsupportedError(RegistryError, NotImplementedError):
    """The request was understood; this version of the registry cannot do it."""


class FetchError(RegistryError, OSError):
    """Files of a model could not be had."""


class MissingFileError(FetchError, FileNotFoundError):
    """A file which the model needs is not where it should be."""


class MissingTokenizerError(MissingFileError):
    """The model carries no files of a tokenizer."""


class NotCachedError(MissingFileError):
    """A file is not on this disk, and cannot be fetched: offline, or its server is out of reach."""


class HTTPStatusError(FetchError):
    """A server refused: ``status`` says how, and ``retry_after`` for how many seconds it wants to be left alone."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class DownloadTimeoutError(FetchError, TimeoutError):
    """A server stalled, or sent less than the slowest useful rate."""


class IncompleteDownloadError(FetchError):
    """A download was cut short, again and again: ``got`` of ``expected`` bytes (None where that is not known)."""

    def __init__(self, message: str, *, got: int, expected: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.got = got
        self.expected = expected


class UnsafeURLError(FetchError):
    """An address of a kind that is not opened, or to which no server may lead."""


class IntegrityError(FetchError):
    """Size or digest of a file differ from what was promised."""


class LockError(IntegrityError):
    """A model is not what the lock file in force says, or that file is damaged; nothing was loaded."""


class CacheError(RegistryError, OSError):
    """The cache's folder cannot be used."""


class CacheReadOnlyError(CacheError):
    """Something must be written into the cache, and it does not let us."""


class CacheFullError(CacheError):
    """The disk, the quota or the largest size of a file is exhausted; what was being written is removed."""


class CacheCorruptError(CacheError):
    """What lies in the cache, at ``path``, is not what was put there."""

    def __init__(self, message: str, *, path: Path, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ArchiveError(RegistryError, ValueError):
    """An archive could not be unpacked; nothing of it was kept."""


class UnsafeArchiveError(ArchiveError):
    """A member of the archive could land elsewhere, or means different things to different readers."""


class CorruptArchiveError(ArchiveError):
    """The archive is damaged: cut short, joined, of another format than its name says, or without a model in it."""


class ArchiveLimitError(ArchiveError):
    """Unpacking the archive would take absurd amounts of disk or time."""


class InputError(RegistryError, ValueError):
    """What a model was given to compute does not fit the model."""


class ConfigError(RegistryError, ValueError):
    """A configuration is damaged, or its values are impossible."""


class VocabError(RegistryError, ValueError):
    """A vocabulary is damaged, or does not fit the model."""


class WeightsError(RegistryError, ValueError):
    """Weights could not be read, or do not fit the model."""


class AmbiguousWeightsError(WeightsError):
    """Two weight files lie in one folder, and nothing says which is meant."""


class UnsafeWeightsError(WeightsError):
    """The file could run code, or hides what it holds; nothing of it was loaded."""


class CorruptWeightsError(WeightsError):
    """The file is damaged: truncated, overlapping, or not of the format that it claims."""


class UnexpectedContentError(IntegrityError, CorruptWeightsError):
    """A server sent an error page, or a pointer of git-lfs, in place of the file; nothing was kept."""


class WeightsLimitError(WeightsError):
    """Reading the file would take absurd amounts of memory or time."""


class WeightsMismatchError(WeightsError):
    """Names, shapes or types of the weights differ from the model's; the model was not touched."""


class SaveError(RegistryError, OSError):
    """A folder could not be written; every file that was there before is intact."""


class PluginError(RegistryError, RuntimeError):
    """A plugin is at fault."""


class UnknownPluginError(PluginError, KeyError):
    """No plugin of this name is installed or registered."""


class PluginLoadError(PluginError):
    """A plugin raised an error while it was imported or asked for its records."""


class PluginConflictError(PluginError):
    """Two plugins declare what was asked for, and neither is preferred."""


class CardFileError(PluginError, ValueError):
    """The file of cards that ``REGISTRY_CARDS`` names cannot be read, or says what cannot be."""


class PluginIncompatibleError(PluginError):
    """A plugin breaks the contract of the hooks: a wrong name, signature or record."""
