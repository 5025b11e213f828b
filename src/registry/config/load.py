"""Reads the configuration among the files of a model."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from registry import discovery
from registry.config.adapter import find_adapter
from registry.config.identify import identify
from registry.config.json_file import naming
from registry.discovery import Architecture
from registry.discovery.carried import carried_by
from registry.discovery.filenames import config_names
from registry.errors import ArchitectureMismatchError, ConfigError, MissingFileError, warn
from registry.files.filenames import CONFIG_NAME, is_weight_like
from registry.files.strict_json import read_json_object
from registry.files.urls import shown
from registry.formatting import first_of, plural
from registry.records import Card, ConfigSpec
from registry.sources.files import Files

if TYPE_CHECKING:
    from registry.config.config import Config

BASE = "base"
"""The task of models without a head."""


class ConfigFile:
    """A file that describes a model, and what it decides; its values are checked when ``config`` is first used.

    Args:
        path: The file.
        keys: The keys of the file as they stand there.
        architecture: What plugins declare of the architecture that the file describes.
        overrides: Values that replace those of fields.
    """

    def __init__(
        self,
        path: Path,
        keys: Mapping[str, Any],
        architecture: Architecture,
        overrides: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.path = path
        self.keys = keys
        self.architecture = architecture
        self.overrides = overrides

    @cached_property
    def config(self) -> "Config":
        """The configuration, overrides included.  Raises ConfigError and UnknownOptionError."""
        return self.read({})

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names of the classes which wrote the checkpoint; those of TensorFlow and Flax count as those of torch."""
        names = self.keys.get("architectures")
        listed = (names,) if isinstance(names, str) else names if isinstance(names, list) else ()
        return tuple(re.sub("^(TF|Flax)(?=[A-Z])", "", name) for name in listed if isinstance(name, str))

    def read(self, overrides: Mapping[str, Any], *, task: str | None = None) -> "Config":
        """The configuration with further values that replace those of fields, for a task.

        Args:
            overrides: The values.
            task: The task of the model, which does not need the fields of other heads.

        Raises:
            ConfigError: A value is impossible.
            UnknownOptionError: An override names no field.
        """
        assert self.architecture.config is not None
        cls: type[Config] = discovery.load_class(self.architecture.config)
        overrides = {**self.overrides, **overrides}
        with naming(self.path, overrides):
            try:
                return cls.from_dict(self.keys, **overrides)
            except ConfigError as problem:
                needless = _needless(cls, task) & self.keys.keys()
                if not needless:
                    raise
                config = cls.from_dict(
                    {key: value for key, value in self.keys.items() if key not in needless}, **overrides
                )
                message = f"{self.path}: {problem.message} The task {task!r} has no use for it, and is loaded without."
                warn(message)
                return config


def _needless(cls: "type[Config]", task: str | None) -> set[str]:
    """The keys that a task does not need: those of single tasks and, for the base model, those of all heads."""
    if task is None:
        return set()
    of_others = {key for other, keys in cls.task_fields.items() if other != task for key in keys}
    return of_others | set(cls.head_fields if task == BASE else ())


def load_config(
    name: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> Any:
    """The configuration of a model, of the class of its architecture; needs no torch.

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
    if overrides and not files.source.in_place:
        from registry.config.keywords import refuse_unknown  # few loads have any

        refuse_unknown(overrides, config_keywords(files.source.card), "No configuration has")
    return read_config(files, overrides).config


def config_keywords(card: Card | None) -> set[str]:
    """Every name of a field of the configuration of a model; of all models where the architecture is not known yet."""
    specs = discovery.every(ConfigSpec) if card is None else (discovery.architecture(card.architecture).config,)
    classes: Iterator[type[Config]] = (discovery.load_class(spec) for spec in specs if spec is not None)
    return {key for keys in (cls.keys() for cls in classes) for key in keys}


def read_config(
    files: Files, overrides: Mapping[str, Any] = MappingProxyType({}), *, expected: str | None = None
) -> ConfigFile:
    """Read the configuration among the files of a model, and check it.

    Args:
        files: The files of the model, or of an adapter, whose base model is then meant.
        overrides: Values that replace those of fields.
        expected: The only architecture that the caller can use.

    Raises:
        MissingFileError: The model has no configuration.
        ArchitectureMismatchError: The architecture is unknown, or not the expected one.
        ConfigError: A value in the file is impossible.
        UnknownOptionError: An override names no field.
    """
    adapter = find_adapter(files)
    file = find_config(files if adapter is None else adapter.base, expected=expected)
    found = ConfigFile(file.path, file.keys, file.architecture, overrides)
    found.config  # noqa: B018  # checks it
    return found


def find_config(files: Files, *, expected: str | None = None) -> ConfigFile:
    """The configuration among the files of a model, of which only the architecture is read.

    Raises:
        MissingFileError: The model has no configuration.
        ArchitectureMismatchError: The architecture is unknown, or not the expected one.
        ConfigError: The file cannot be read.
    """
    path = _config_path(files)
    card = files.source.card
    declared = None if card is None else card.architecture
    if path is None:
        path, keys, reading = _of_readers(files)
        declared = reading or declared
    else:
        keys = read_json_object(path)
    if keys.keys() == {"__version__"}:  # older sentence-transformers: the model's is in a subdirectory
        raise _no_config(files)
    found = identify(keys, path, declared=declared, fallback=expected)
    if expected is not None and found.name != expected:
        raise ArchitectureMismatchError(
            f"{files.source} holds a model of the architecture {found.name!r}, where {expected!r} is needed.",
            hint=f"registry.load({shown(files.source.asked)}) picks the class that fits.",
        )
    return ConfigFile(path, keys, found)


def _config_path(files: Files) -> Path | None:
    """The configuration in JSON; None where there is none."""
    paths = files.of("config")
    if CONFIG_NAME in paths:
        return paths[CONFIG_NAME]
    for name in config_names():
        if name in paths:
            return paths[name]
    return None


def _readers() -> list[ConfigSpec]:
    """The records that read configurations from files that are not JSON; imports every plugin."""
    return [spec for spec in discovery.every(ConfigSpec) if spec.reader is not None]


def _of_readers(files: Files) -> tuple[Path, Mapping[str, Any], str | None]:
    """The configuration in files that are not JSON: one of them, the keys, and the architecture of the reader."""
    readers = _readers()
    carried = any(spec.config is not None for spec in discovery.weight_loaders())
    paths = files.whole() if readers or carried else {}
    path = next((path for name, path in paths.items() if is_weight_like(name)), next(iter(paths.values()), None))
    if path is None:
        raise _no_config(files)
    for spec in readers:
        assert spec.reader is not None
        keys = spec.reader.load()(paths)
        if keys is not None:
            return path, keys, spec.architecture
    keys = carried_by("config", paths)
    if not keys:
        raise _no_config(files)
    return path, keys, None


def _no_config(files: Files) -> MissingFileError:
    explained = files.explained()
    names = config_names()
    listed = f"{plural(len(explained.names), 'file')} ({first_of(explained.names, 5)})"
    among = f"among its {listed}" if explained.names else "there"
    directory = files.source.directory_with(names)
    around = None if directory is None else f"There is one next to it: give the directory, {str(directory)!r}."
    return MissingFileError(
        f"{files.source} has no configuration of a model: none of {', '.join(names) or CONFIG_NAME} is {among}."
        f"{explained.found}",
        hint=around
        or explained.remedy
        or "Write one with `config.to_json_file(path)`, or save the model with `registry.save(model, directory)`.",
    )
