"""The base class of configurations: typed, checked, immutable, and faithful to the published file.

A configuration is a value, a frozen attrs class whose fields are the keys of the published ``config.json``.  Keys that
a class does not declare are kept in ``extra``, written back, and never interpreted.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import attrs
from attrs import field, frozen

from registry.config.labels import labels_of, numbered
from registry.errors import (
    ArchitectureMismatchError,
    ConfigError,
    PluginIncompatibleError,
    UnknownOptionError,
    did_you_mean,
)
from registry.files.strict_json import read_json_object
from registry.namespace import reference_to, revive

MOST_PARAMETERS = 20_000_000_000
"""Parameters of the largest model; a configuration that asks for more is refused as damaged."""

METADATA_KEYS = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")
"""Keys that describe the file rather than the model: not kept, but rewritten on saving where they apply."""

RESERVED = frozenset(
    ("task", "dtype", "device", "cache_dir", "offline", "revision", "allow_missing", "allow_unexpected", "progress")
    + ("from_tf", "state_dict", "mesh", "parallel")
)
"""Keywords of loading; a field of the same name could not be overridden, and is refused."""


# --- The base class ---------------------------------------------------------------------------------------------------


def _immutable(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@frozen(kw_only=True)
class Config:
    """The base class of configurations.

    A subclass is decorated ``@frozen(kw_only=True)``, names its ``architecture`` and ``model_type``, and declares one
    field for each published key, with a check from ``registry.config.fields``.  Rules between fields are attrs
    validators which raise ``ConfigError``.
    """

    architecture: ClassVar[str]
    """The name under which a plugin declares the class."""
    model_type: ClassVar[str]
    """The value of ``model_type`` in a saved file."""
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Other spellings of keys: spelling -> field."""
    required_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that every file of the architecture has: one without them, and without ``model_type``, is of another."""

    id2label: Mapping[int, str] = field(default=None, converter=labels_of, hash=False)
    """Names of the classes, by number; ``num_labels`` alone makes LABEL_0, LABEL_1 and so on."""
    num_labels: int = field(default=None, repr=False)
    """Number of classes; 2 unless given or derived from ``id2label``."""
    extra: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_immutable, eq=False, repr=False)
    """Keys of the file which this class does not declare: written back, never interpreted."""

    def __init_subclass__(cls) -> None:
        hidden = RESERVED & set(vars(cls).get("__annotations__", {}))
        if hidden:
            raise PluginIncompatibleError(
                f"{cls.__name__} has a field {sorted(hidden)[0]!r}, which is a keyword of registry.load.",
                hint="Give the field another name, and list the published key in `aliases`.",
            )

    def __attrs_post_init__(self) -> None:
        labels, number = numbered(self.id2label, self.num_labels)
        object.__setattr__(self, "id2label", labels)
        object.__setattr__(self, "num_labels", number)
        parameters = self.num_backbone_parameters()
        if parameters > MOST_PARAMETERS:
            raise ConfigError(
                f"This configuration describes a model of {parameters:,} parameters; more than {MOST_PARAMETERS:,} "
                f"parameters look like a damaged file."
            )

    def num_backbone_parameters(self) -> int:
        """The number of parameters of the model without its heads, up to small terms; a guard against absurd sizes."""
        return 0

    @property
    def total_tokens_embeddings(self) -> int | None:
        """The number of rows of the embedding, above every id; None where there is no such number."""
        return getattr(self, "vocab_size", None)

    @property
    def label2id(self) -> dict[str, int]:
        """Numbers of the classes, by name."""
        return {label: number for number, label in self.id2label.items()}

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every name by which a field can be given, other spellings included."""
        return (*cls._fields(), *cls.aliases)

    # --- Reading

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], **overrides: Any) -> Self:
        """The configuration that the keys of a published file describe.

        Args:
            keys: Keys and values as the file has them.
            overrides: Values that replace those of fields.

        Raises:
            ConfigError: A value is impossible.
            UnknownOptionError: An override names no field.
        """
        known = cls._fields()
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in keys.items():
            name = cls.aliases.get(key, key)
            if key in METADATA_KEYS or key == "label2id":
                continue
            if name not in known:
                extra[key] = value
            elif name in fields and fields[name] != value:
                raise ConfigError(f"{name} is given twice, as {fields[name]!r} and (by the key {key!r}) as {value!r}.")
            else:
                fields[name] = value
        return cls(**fields, extra=extra).replace(**overrides)

    @classmethod
    def from_json_file(cls, path: str | Path) -> Self:
        """The configuration in a file.

        Raises:
            ConfigError: The file cannot be read, or a value in it is impossible; names the file and the key.
        """
        keys = read_json_object(Path(path))
        with naming(path):
            return cls.from_dict(keys)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        offline: bool | None = None,
        revision: str | None = None,
        progress: bool | None = None,
        **overrides: Any,
    ) -> Self:
        """The configuration of a model.

        Args:
            name_or_path: A name, path or URL.
            cache_dir: Directory for downloaded files.
            offline: True forbids every download; None asks the environment.
            revision: Branch, tag or commit of a repository of the hub.
            progress: Whether downloads show a bar; None shows one on a terminal.
            overrides: Values that replace those of fields.

        Raises:
            UnknownModelError: Nothing has this name.
            MissingFileError: The model has no configuration.
            ArchitectureMismatchError: The model is of another architecture.
            ConfigError: A value in the file is impossible.
            UnknownOptionError: An override names no field.
        """
        from registry.config.load import read_config  # imported here: a value drags in neither cache nor plugins
        from registry.sources.files import Files

        files = Files.named(name_or_path, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        config = read_config(files, overrides, expected=cls.architecture).config
        if not isinstance(config, cls):
            raise ArchitectureMismatchError(
                f"{name_or_path} is configured by {type(config).__name__}, not {cls.__name__}."
            )
        return config

    def replace(self, **overrides: Any) -> Self:
        """The same configuration with other values for some fields; ``num_labels`` alone makes new labels.

        Raises:
            UnknownOptionError: A name is no field.
            ConfigError: A value is impossible.
        """
        if not overrides:
            return self
        fields = {self.aliases.get(key, key): value for key, value in overrides.items()}
        for key in fields:
            if key not in self._fields():
                raise UnknownOptionError(
                    f"{type(self).__name__} has no field {key!r}.{did_you_mean(key, self._fields())}",
                    hint="Its fields are: " + ", ".join(sorted(self._fields())) + ".",
                )
        if ("num_labels" in fields) != ("id2label" in fields):  # one of the two follows from the other
            fields.setdefault("id2label", None)
            fields.setdefault("num_labels", None)
        return attrs.evolve(self, **fields)

    # --- Writing

    def to_dict(self) -> dict[str, Any]:
        """All keys as a published file has them, those of ``extra`` included."""
        fields = {name: getattr(self, name) for name in self._fields() if name != "num_labels"}
        fields["id2label"] = {str(number): label for number, label in self.id2label.items()}
        return {
            **self.extra,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in _plain(fields).items()},
            "label2id": self.label2id,
            "model_type": self.model_type,
        }

    def to_json_string(self) -> str:
        """The configuration as the text of a ``config.json``."""
        return config_text(self.to_dict())

    def to_json_file(self, path: str | Path) -> None:
        """Write the configuration to ``path``, replacing what was there."""
        text = self.to_json_string()
        Path(path).write_text(text, encoding="utf-8")

    # --- Inside

    @classmethod
    def _fields(cls) -> dict[str, "attrs.Attribute[Any]"]:
        return {name: a for name, a in attrs.fields_dict(cls).items() if name != "extra"}

    def __reduce__(self) -> tuple[Any, ...]:
        state = _plain({name: getattr(self, name) for name in (*self._fields(), "extra")})
        return _remade, (reference_to(type(self)), state)


def _remade(reference: str | type, state: Mapping[str, Any]) -> Config:
    """Remake a pickled configuration by its constructor, which attrs' own support of pickle does not call."""
    cls: type[Config] = type(revive(reference))
    return cls(**state)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with immutable mappings as dicts, which JSON and pickle accept."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name a file in errors of the configuration that is read from it."""
    try:
        yield
    except ConfigError as problem:
        raise ConfigError(f"{path}: {problem.message}", hint=problem.hint) from problem


def config_text(keys: Mapping[str, Any]) -> str:
    """The text of a ``config.json``: sorted keys, two spaces, a final newline.

    Raises:
        ConfigError: A value is nothing that JSON can hold, such as NaN or an object.
    """
    try:
        return json.dumps(keys, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"This configuration cannot be written as JSON: {problem}.") from problem
