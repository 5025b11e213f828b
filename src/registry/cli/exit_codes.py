"""The exit codes of the command line."""

from enum import IntEnum

from registry.errors import (
    ArchiveLimitError,
    CacheCorruptError,
    CorruptArchiveError,
    CorruptWeightsError,
    IntegrityError,
    MissingFileError,
    RegistryError,
    UnknownLayerError,
    UnknownModelError,
    UnknownPluginError,
    UnknownTaskError,
    UnsafeArchiveError,
    UnsafeWeightsError,
    WeightsLimitError,
)


class ExitCode(IntEnum):
    """The code with which a command ends."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    DAMAGED = 4
    INTERRUPTED = 130


BY_ERROR: dict[ExitCode, tuple[type[RegistryError], ...]] = {
    ExitCode.NOT_FOUND: (UnknownModelError, UnknownTaskError, UnknownLayerError, UnknownPluginError, MissingFileError),
    ExitCode.DAMAGED: (
        *(IntegrityError, CacheCorruptError, CorruptWeightsError, UnsafeWeightsError, WeightsLimitError),
        *(CorruptArchiveError, UnsafeArchiveError, ArchiveLimitError),
    ),
}
"""The errors with a code of their own; all others end a command with ``ERROR``."""


def exit_code(error: RegistryError) -> ExitCode:
    """The exit code for an error."""
    return next((code for code, errors in BY_ERROR.items() if isinstance(error, errors)), ExitCode.ERROR)
