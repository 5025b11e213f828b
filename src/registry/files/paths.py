"""What is in a directory, and paths of files for libraries that take only text."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def list_directory(directory: Path) -> list[Path]:
    """What is in a directory, sorted; nothing where it cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


@contextmanager
def utf8_path(path: Path) -> Iterator[str | Path]:
    """A path of a file that is UTF-8: by the number of its directory, where that is named otherwise (on Linux)."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            yield f"/dev/fd/{handle}/{path.name}"
        finally:
            os.close(handle)
    else:
        yield path
