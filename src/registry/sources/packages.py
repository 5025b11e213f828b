"""Files that installed Python distributions carry: ``pkg:distribution/path/in/it``."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote, urlsplit

from attrs import frozen

from registry.discovery.entry_points import distributions
from registry.discovery.plugin import canonicalize_name
from registry.download.policy import Policy
from registry.errors import FetchError, MissingFileError
from registry.files.urls import redacted
from registry.records import Paths
from registry.sources.on_disk import files_at
from registry.sources.source import Roles, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution


@frozen(kw_only=True)
class PackageSource(Source):
    """A file or directory of an installed distribution; its files are given whatever the roles."""

    url: str
    """``pkg:distribution/path/in/it``."""

    kind: ClassVar[str] = "package"
    noun: ClassVar[str] = "package data"
    in_place: ClassVar[bool] = True

    def files(self, roles: Roles, policy: Policy) -> Paths:  # noqa: ARG002
        """The file, or all files of the directory."""
        return files_at(package_path(self.url))

    def urls(self) -> "Iterator[str]":
        """Its ``pkg:`` URL."""
        yield redacted(self.url)

    def url_of(self, name: str, path: Path) -> str:  # noqa: ARG002
        """The ``pkg:`` URL of a file of the directory."""
        return f"{self.url}/{name}"

    @property
    def lock_key(self) -> str:
        """Its ``pkg:`` URL."""
        return redacted(self.url)


def package_path(url: str) -> Path:
    """The file or directory at ``pkg:distribution/path/in/it``, among those that the distribution installed.

    Raises:
        MissingFileError: It is not there, or the distribution is not installed.
        FetchError: The path leads out of the distribution.
    """
    name, _, inner = url.removeprefix("pkg:").partition("/")
    parts = tuple(inner.rstrip("/").split("/"))
    if {"", ".", ".."} & {name, *parts} or "\\" in inner:
        raise FetchError(f"{url!r} is not a plain path inside of a distribution.")
    recorded = _recorded_path(name, "/".join(parts))
    if recorded is not None:
        return recorded
    from importlib import metadata  # takes longer to import than finding the files of most models

    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as problem:
        raise MissingFileError(f"the distribution {name!r} is not installed.", hint=install_command([url])) from problem
    path = Path(str(distribution.locate_file(inner)))
    listed = any(file.parts[: len(parts)] == parts for file in distribution.files or ())
    if listed and path.exists():
        return path
    found = _editable_path(distribution, inner)
    if found is None:
        raise MissingFileError(
            f"{inner!r} is not among the files of {name} {distribution.version}.", hint="Install it again."
        )
    return found


def _recorded_path(name: str, inner: str) -> Path | None:
    """The file or directory as the RECORD of an installed wheel lists it; None sends to ``importlib.metadata``."""
    wanted = canonicalize_name(name)
    for directory, read in distributions():
        site, found = os.path.split(directory)
        if found[:1].lower() == wanted[:1] and canonicalize_name(found.partition("-")[0]) == wanted:
            record = f"\n{read('RECORD') or ''}"
            path = Path(site, inner)
            return path if any(f"\n{inner}{end}" in record for end in ",/") and path.exists() else None
    return None


def install_command(urls: Collection[str]) -> str | None:
    """The command that installs the distributions which these URLs name; None where they name none."""
    names = dict.fromkeys(url.removeprefix("pkg:").partition("/")[0] for url in urls if url.startswith("pkg:"))
    return f"`pip install --no-deps {' '.join(names)}` brings what is missing." if names else None


# --- Editable installations, whose distributions list none of their files ---------------------------------------------


def _editable_path(distribution: "Distribution", inner: str) -> Path | None:
    """The file or directory ``package/path/in/it`` of what ``pip install -e`` installed; None if there is none.

    The package is where Python would import it from, and must lie in the directory that was installed.
    """
    from importlib.util import find_spec

    project = _project(distribution)
    package, _, rest = inner.partition("/")
    spec = find_spec(package) if project is not None and package.isidentifier() else None
    for location in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(location, rest).resolve()
        if project is not None and path.is_relative_to(project) and path.exists():
            return path
    return None


def _project(distribution: "Distribution") -> Path | None:
    """The directory of an editable installation, from the record that pip leaves (PEP 610); None for any other."""
    import json  # finding a card needs none

    try:
        record = json.loads(distribution.read_text("direct_url.json") or "{}")
        if record.get("dir_info", {}).get("editable") is True:
            return Path(unquote(urlsplit(record["url"]).path)).resolve()
    except (ValueError, KeyError, AttributeError):
        return None  # damaged, or of another shape: as if it were not there
    return None
