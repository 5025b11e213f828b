"""Every error of the registry, as one tree.

::

    RegistryError
     ├─ UnknownModelError (KeyError)             no plugin, file or directory has this name
     ├─ UnknownTaskError (ValueError)            the architecture has no model class for this task
     ├─ UnknownLayerError (KeyError)             no plugin declares this layer
     ├─ UnknownOptionError (TypeError)           a keyword that neither loader, class nor configuration has
     ├─ UnknownAttributeError (AttributeError)   an attribute that an object does not have, and cannot be given
     ├─ ArchitectureMismatchError (ValueError)   a checkpoint of another architecture than the class
     ├─ UnsupportedError (NotImplementedError)   not supported by this version
     ├─ ConflictingOptionsError (ValueError)     two options that exclude each other
     ├─ MissingDependencyError (ImportError)     a package of an extra that is not installed
     ├─ ParallelError (RuntimeError)             processes that cannot share a model, or do not agree
     ├─ FetchError (OSError)
     │   ├─ MissingFileError (FileNotFoundError) a required file is missing
     │   │   ├─ MissingTokenizerError            ... and it is the tokenizer's
     │   │   └─ NotCachedError                   ... and cannot be fetched: offline, or the server is out of reach
     │   ├─ HTTPStatusError                      an HTTP status of refusal
     │   ├─ DownloadTimeoutError                 a download that stalled
     │   ├─ IncompleteDownloadError              a download that was cut short, also when it was resumed
     │   ├─ UnsafeURLError                       a URL that is not opened, or not from where it was linked
     │   └─ IntegrityError                       another size or digest than promised
     │       ├─ LockError                        another model than the lock file has
     │       └─ UnexpectedContentError           an error page, or a git-lfs pointer, in place of the file
     ├─ CacheError (OSError)                     the cache directory cannot be used
     │   ├─ CacheReadOnlyError                   ... for writing
     │   ├─ CacheFullError                       ... because disk or quota is full
     │   └─ CacheCorruptError                    a cached file that has changed
     ├─ ArchiveError (ValueError)
     │   ├─ UnsafeArchiveError                   a member that could land elsewhere, or is ambiguous
     │   ├─ CorruptArchiveError                  an archive that is damaged, or holds no model
     │   └─ ArchiveLimitError                    unpacking would take absurd amounts of disk or time
     ├─ InputError (ValueError)                  an input that does not fit the model
     ├─ ConfigError (ValueError)                 a configuration that is damaged, or has impossible values
     ├─ VocabError (ValueError)                  a vocabulary that is damaged, or does not fit the model
     ├─ WeightsError (ValueError)
     │   ├─ AmbiguousWeightsError                two weight files, either of which could be meant
     │   ├─ UnsafeWeightsError                   weights that could run code, or hide data
     │   ├─ CorruptWeightsError                  a damaged weight file
     │   ├─ WeightsLimitError                    reading would take absurd amounts of memory or time
     │   └─ WeightsMismatchError                 other names, shapes or dtypes than the model's
     ├─ SaveError (OSError)                      a directory could not be written; its former contents are intact
     ├─ BulkError (RuntimeError)                 a bulk job whose workers die
     └─ PluginError (RuntimeError)
         ├─ UnknownPluginError (KeyError)        no plugin has this name
         ├─ PluginLoadError                      a plugin failed while it was imported or its hooks were called
         ├─ PluginConflictError                  two plugins declare the same name
         ├─ CardFileError (ValueError)           a card file (REGISTRY_CARDS) is wrong
         └─ PluginIncompatibleError              a plugin breaks the contract of the hooks

The second bases keep old ``except OSError``, ``except KeyError`` and ``except ValueError`` clauses working.

A message says what was asked, which rule was applied and what was found; ``hint`` says what to do.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.formatting import printable

if TYPE_CHECKING:
    from types import FrameType

MOST_SUGGESTIONS = 3
"""Suggestions in a message."""


def suggestions(word: str, words: Iterable[str]) -> tuple[str, ...]:
    """Up to three of ``words`` that are similar to ``word``; case, ``_`` and ``-`` make no difference."""
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
    """Base of all errors of the registry; pickled with all attributes.

    Control characters that a file, a server or a plugin put into the texts are shown escaped.

    ``details`` is None, or text that is not part of the message: URLs that were tried, the error of each.  The command
    line prints it with ``-v``.

    Args:
        message: What was asked, which rule was applied and what was found.
        hint: What to do about it; printed below the message.
    """

    details: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = printable(message)
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if self.hint is None else printable(f"{self.message}\n{self.hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(vars(self))
        if isinstance(self, OSError):
            state["errno"] = self.errno  # no item of vars(), but a slot of OSError
        return _revive, (type(self), self.message), state


class RegistryWarning(UserWarning):
    """Base of all warnings of the registry: the operation continued.

    Control characters in its text are shown escaped.
    """

    def __init__(self, *texts: object) -> None:
        super().__init__(*(printable(text) if isinstance(text, str) else text for text in texts))


class UntrainedWarning(RegistryWarning):
    """Parts of a model have the values of their initialization: its outputs are random until it is trained."""


class RegistryDeprecationWarning(RegistryWarning, FutureWarning):
    """Use of a name or an option that a later version removes; the message names the version and the replacement.

    Its form: ``"X is deprecated since 0.3 and will be removed in 0.5; use Y."``  It is shown by default.
    """


def _revive(cls: type[RegistryError], message: str) -> RegistryError:
    """Make an error without its constructor's keywords; pickle restores its attributes afterwards."""
    error = cls.__new__(cls, message)
    RegistryError.__init__(error, message)
    return error


class UnknownModelError(RegistryError, KeyError):
    """No plugin declares a model of this name, and no file or directory has it; ``suggestions`` are similar names."""

    def __init__(self, message: str, *, suggestions: Iterable[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.suggestions = tuple(suggestions)


class UnknownTaskError(RegistryError, ValueError):
    """The architecture has no model class for this task."""


class UnknownLayerError(RegistryError, KeyError):
    """No installed plugin declares a layer of this name."""


class UnknownOptionError(RegistryError, TypeError):
    """Neither the loader, nor the class, nor the configuration has this keyword."""


class UnknownAttributeError(RegistryError, AttributeError):
    """An object has no such attribute, and setting it would have no effect."""


class ArchitectureMismatchError(RegistryError, ValueError):
    """A checkpoint is of another architecture than the class."""


class ConflictingOptionsError(RegistryError, ValueError):
    """Two options exclude each other."""


class MissingDependencyError(RegistryError, ImportError):
    """A feature needs a package of one of the extras, which is not installed."""


class UnsupportedError(RegistryError, NotImplementedError):
    """The request is valid, but this version of the registry does not support it."""


class ParallelError(RegistryError, RuntimeError):
    """Processes cannot share a model in this way, or do not do the same."""


class FetchError(RegistryError, OSError):
    """Files of a model are not available."""

    url: str | None = None
    """The URL that failed, without secrets; None where no request failed, or several did."""
    reason: str | None = None
    """Why that server did not send the file, in a few words: ``connection refused``, ``401 Unauthorized``."""


class MissingFileError(FetchError, FileNotFoundError):
    """A file that the model needs is missing."""


class MissingTokenizerError(MissingFileError):
    """The model has no tokenizer files."""


class NotCachedError(MissingFileError):
    """A file is not on this disk and cannot be fetched: offline, or its server is out of reach."""


class HTTPStatusError(FetchError):
    """A server refused the request, with the HTTP ``status``; ``retry_after`` is the number of seconds to wait."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class DownloadTimeoutError(FetchError, TimeoutError):
    """A download stalled: no data, or less than the slowest useful rate."""


class IncompleteDownloadError(FetchError):
    """A download was cut short at every try: ``got`` of ``expected`` bytes (None where that is not known)."""

    def __init__(self, message: str, *, got: int, expected: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.got = got
        self.expected = expected


class UnsafeURLError(FetchError):
    """A URL of a scheme that is not opened, or to which no server may redirect."""


class IntegrityError(FetchError):
    """The size or digest of a file differs from the promised one."""


class LockError(IntegrityError):
    """A model differs from the lock file, or the lock file is damaged; nothing was loaded."""


class CacheError(RegistryError, OSError):
    """The cache directory cannot be used."""


class CacheReadOnlyError(CacheError):
    """The cache must be written to, and is read-only."""


class CacheFullError(CacheError):
    """The disk, the quota or the file size limit is exhausted; the partial file was removed."""


class CacheCorruptError(CacheError):
    """The cached file at ``path`` is not the one that was written there."""

    def __init__(self, message: str, *, path: Path, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ArchiveError(RegistryError, ValueError):
    """An archive could not be unpacked; nothing of it was kept."""


class UnsafeArchiveError(ArchiveError):
    """A member of the archive could land elsewhere, or is read differently by different readers."""


class CorruptArchiveError(ArchiveError):
    """The archive is damaged: cut short, joined, of another format than its name, or without a model."""


class ArchiveLimitError(ArchiveError):
    """Unpacking the archive would take absurd amounts of disk or time."""


class InputError(RegistryError, ValueError):
    """An input does not fit the model."""


class ConfigError(RegistryError, ValueError):
    """A configuration is damaged, or has impossible values."""


class VocabError(RegistryError, ValueError):
    """A vocabulary is damaged, or does not fit the model."""


class WeightsError(RegistryError, ValueError):
    """Weights cannot be read, or do not fit the model."""


class AmbiguousWeightsError(WeightsError):
    """Two weight files lie in one directory, and nothing decides between them."""


class UnsafeWeightsError(WeightsError):
    """The file could run code, or hides data; nothing of it was loaded."""


class CorruptWeightsError(WeightsError):
    """The file is damaged: truncated, overlapping, or of another format than it claims."""


class UnexpectedContentError(IntegrityError, CorruptWeightsError):
    """A server sent an error page, or a git-lfs pointer, in place of the file; nothing was kept."""


class WeightsLimitError(WeightsError):
    """Reading the file would take absurd amounts of memory or time."""


class WeightsMismatchError(WeightsError):
    """Names, shapes or dtypes of the weights differ from the model's; the model is unchanged."""


class SaveError(RegistryError, OSError):
    """A directory could not be written; what was there before is intact, or the message says which files are new."""


class BulkError(RegistryError, RuntimeError):
    """Workers of a bulk job died repeatedly; the parts that are done stay."""


class PluginError(RegistryError, RuntimeError):
    """Base of the errors of plugins."""


class UnknownPluginError(PluginError, KeyError):
    """No plugin of this name is installed or registered."""


class PluginLoadError(PluginError):
    """A plugin raised an error while it was imported or its hooks were called."""


class PluginConflictError(PluginError):
    """Two plugins declare the same name, and neither is preferred."""


class CardFileError(PluginError, ValueError):
    """A card file that ``REGISTRY_CARDS`` names cannot be read, or its entry of the model is wrong."""


class PluginIncompatibleError(PluginError):
    """A plugin breaks the contract of the hooks: a wrong name, signature or record."""


OURS = ("registry", "plugins", "contextlib")
"""Packages whose lines a warning does not show; some functions are decorated with a context manager."""


def warn(message: str, category: type[RegistryWarning] = RegistryWarning) -> None:
    """Issue a warning, shown with the line that called into this library."""
    import warnings  # most loads warn about nothing

    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
