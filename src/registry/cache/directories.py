"""Directories of caches: ours, by the rules that the documentation of pytorch-pretrained-bert prints, and others'."""

import os
from pathlib import Path
from typing import TypeAlias

from registry.errors import CacheError
from registry.files.environment import variable

PathArgument: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""How a caller may name a directory."""

CACHE_DIRECTORY = "pytorch_pretrained_bert"
"""The directory inside torch's home; pytorch-pretrained-bert's name, so that its files are found again."""

OURS = ".registry"
"""The directory in it of this library's own files, next to those of pytorch-pretrained-bert."""
VERSION = "v1"
"""Directory of their layout; another one gets another name, so that versions of this library can share a cache."""

NOWHERE = Path(os.devnull) / "no home directory is known"
"""Stands for the directory where none can be named: nothing is ever found in it, and it cannot be made."""


def cache_directory(cache_dir: PathArgument | None = None) -> Path:
    """The directory of fetched files: the argument, else what the environment says now, else torch's cache.

    ``PYTORCH_PRETRAINED_BERT_CACHE`` names the directory itself, ``TORCH_HOME`` and ``XDG_CACHE_HOME`` one around it;
    both also count with the ``ENV_`` before them that the documentation of pytorch-pretrained-bert prints.  Empty means
    unset.

    Args:
        cache_dir: The directory, if the caller chose one.

    Raises:
        CacheError: The directory is in a home directory that is not known.
    """
    return _expanded(cache_dir or _of_environment())


def cache_directory_or_nowhere(cache_dir: PathArgument | None = None) -> Path:
    """The directory of fetched files, else ``NOWHERE``, which is enough to read the caches of other programs.

    Raises:
        CacheError: The caller chose a directory, which is in a home directory that is not known.
    """
    try:
        return cache_directory(cache_dir)
    except CacheError:
        if cache_dir:
            raise
        return NOWHERE


def shown_cache_directory() -> str:
    """The directory of fetched files as text; it begins with ``~`` where no home directory is known."""
    return os.path.expanduser(_of_environment())  # noqa: PTH111  # Path.expanduser raises RuntimeError instead


def is_anything_cached(cache_dir: PathArgument | None = None) -> bool:
    """Whether our cache has a file, or one of the others is there: without, nothing needs to be looked for.

    Raises:
        CacheError: The caller chose a directory, which is in a home directory that is not known.
    """
    if _has_files(cache_directory_or_nowhere(cache_dir)):
        return True
    return any(map(os.path.isdir, (older_directory(), hub_cache())))  # Path.is_dir raises where it may not be read


def _has_files(directory: Path) -> bool:
    """Whether a directory of fetched files has any: of ours, which ``verify`` and locks make as well, or older ones."""
    if any(os.path.isdir(f"{directory}/{OURS}/{VERSION}/{name}") for name in ("refs", "blobs")):  # noqa: PTH112  # Path.is_dir raises
        return True
    try:
        return any(name != OURS for name in os.listdir(directory))  # noqa: PTH208  # names are all that is wanted
    except PermissionError:
        return True  # files may be there all the same
    except OSError:
        return False


def _of_environment() -> str:
    """The directory that the environment names, which may begin with ``~``."""
    chosen = variable("PYTORCH_PRETRAINED_BERT_CACHE")
    if chosen:
        return chosen
    caches = variable("XDG_CACHE_HOME", "ENV_XDG_CACHE_HOME") or "~/.cache"
    home = variable("TORCH_HOME", "ENV_TORCH_HOME") or f"{caches}/torch"
    return f"{home}/{CACHE_DIRECTORY}"


def _expanded(path: PathArgument) -> Path:
    expanded = os.path.expanduser(os.fsdecode(path))  # noqa: PTH111  # Path.expanduser raises RuntimeError instead
    if expanded.startswith("~"):
        raise CacheError(
            f"the cache {expanded} cannot be found: no home directory is known.",
            hint="Name a directory: cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE.",
        )
    return Path(expanded)


# --- Caches of other programs -----------------------------------------------------------------------------------------


def older_directory() -> Path:
    """The cache of pytorch-pretrained-bert before the one below torch's home."""
    return Path(os.path.expanduser(f"~/.{CACHE_DIRECTORY}"))  # noqa: PTH111  # Path.expanduser may raise


def hub_cache() -> Path:
    """The cache directory of the hub's client: what the environment says now, else its default."""
    directory = variable("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    return client_path(directory) if directory else client_home() / "hub"


def client_home() -> Path:
    """The directory of the hub's client: what the environment says now, else its default."""
    return client_path(variable("HF_HOME") or f"{variable('XDG_CACHE_HOME') or '~/.cache'}/huggingface")


def client_path(path: str) -> Path:
    """A path as the hub's client reads it from a variable."""
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111  # Path.expanduser may raise
