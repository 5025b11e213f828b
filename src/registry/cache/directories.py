"""The directory of the cache, by the rules that the documentation of pytorch-pretrained-bert prints."""

import os
from pathlib import Path

from registry.errors import CacheError

CACHE_DIRECTORY = "pytorch_pretrained_bert"
"""The directory inside torch's home; pytorch-pretrained-bert's name, so that its files are found again."""


def cache_directory(cache_dir: str | bytes | Path | None = None) -> Path:
    """The directory of fetched files: the argument, else what the environment says now, else torch's cache.

    ``PYTORCH_PRETRAINED_BERT_CACHE`` names the directory itself, ``TORCH_HOME`` and ``XDG_CACHE_HOME`` one around it;
    both also count with the ``ENV_`` before them that the documentation of pytorch-pretrained-bert prints.  Empty means
    unset.

    Args:
        cache_dir: The directory, if the caller chose one.

    Raises:
        CacheError: The directory is in a home directory that is not known.
    """
    chosen = cache_dir or os.environ.get("PYTORCH_PRETRAINED_BERT_CACHE")
    if chosen:
        return _expanded(chosen)
    return _torch_home() / CACHE_DIRECTORY


def _torch_home() -> Path:
    home = os.environ.get("TORCH_HOME") or os.environ.get("ENV_TORCH_HOME")
    if home:
        return _expanded(home)
    caches = os.environ.get("XDG_CACHE_HOME") or os.environ.get("ENV_XDG_CACHE_HOME") or "~/.cache"
    return _expanded(caches) / "torch"


def _expanded(path: str | bytes | Path) -> Path:
    expanded = os.path.expanduser(os.fsdecode(path))  # noqa: PTH111  # Path.expanduser raises RuntimeError instead
    if expanded.startswith("~"):
        raise CacheError(
            f"the cache {expanded} cannot be found: no home directory is known.",
            hint="Name a directory: cache_dir=, or the variable PYTORCH_PRETRAINED_BERT_CACHE.",
        )
    return Path(expanded)
