"""Reads the configuration among the files of a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from registry import discovery
from registry.config.config import Config, naming
from registry.config.identify import identify
from registry.discovery import Architecture
from registry.discovery.filenames import config_names
from registry.errors import ArchitectureMismatchError, MissingFileError
from registry.files.filenames import CONFIG_NAME
from registry.files.strict_json import read_json_object
from registry.formatting import first_of
from registry.sources.files import Files


class ConfigFile(NamedTuple):
    """A configuration that was read, and what its file decides."""

    config: Config
    """The configuration, overrides included."""
    keys: Mapping[str, Any]
    """The keys of the file as they stand there."""
    architecture: Architecture
    """What plugins declare of the architecture that the file describes."""


def load_config(
    name: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> Config:
    """The configuration of a model; needs no torch.

    Args:
        name: A name, path or URL.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download; None asks the environment.
        revision: Branch, tag or commit of a repository of the hub.
        progress: Whether downloads show a bar; None shows one on a terminal.
        overrides: Values that replace those of fields.

    Raises:
        UnknownModelError: Nothing has this name.
        MissingFileError: The model has no configuration.
        ArchitectureMismatchError: No installed plugin declares the architecture.
        ConfigError: A value in the file is impossible.
        UnknownOptionError: An override names no field.
    """
    files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
    return read_config(files, overrides).config


def read_config(
    files: Files, overrides: Mapping[str, Any] = MappingProxyType({}), *, expected: str | None = None
) -> ConfigFile:
    """Read the configuration among the files of a model.

    Args:
        files: The files of the model.
        overrides: Values that replace those of fields.
        expected: The only architecture that the caller can use.

    Raises:
        MissingFileError: The model has no configuration.
        ArchitectureMismatchError: The architecture is unknown, or not the expected one.
        ConfigError: A value in the file is impossible.
        UnknownOptionError: An override names no field.
    """
    path = _config_path(files)
    keys = read_json_object(path)
    card = files.source.card
    found = identify(keys, path, declared=None if card is None else card.architecture, fallback=expected)
    if expected is not None and found.name != expected:
        raise ArchitectureMismatchError(
            f"{files.source} holds a model of the architecture {found.name!r}, where {expected!r} is needed.",
            hint=f"registry.load({str(files.source.asked)!r}) picks the class that fits.",
        )
    assert found.config is not None
    cls: type[Config] = discovery.load_class(found.config)
    with naming(path):
        config = cls.from_dict(keys)
    return ConfigFile(config=config.replace(**overrides), keys=keys, architecture=found)


def _config_path(files: Files) -> Path:
    paths = files.of("config")
    if CONFIG_NAME in paths:
        return paths[CONFIG_NAME]
    names = config_names()
    for name in names:
        if name in paths:
            return paths[name]
    listed = f" ({first_of(sorted(paths), 5)})" if paths else ""
    raise MissingFileError(
        f"{files.source} has no configuration: none of {', '.join(names) or CONFIG_NAME} is among its "
        f"{len(paths)} files{listed}.",
        hint="Write one with `config.to_json_file(path)`, or save the model with `registry.save(model, directory)`.",
    )
