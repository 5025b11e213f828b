"""The base class of configurations: typed, checked, and faithful to the published file.

A configuration is a value, an attrs class whose fields are the keys of the published ``config.json``.  Keys that a
class does not declare are kept in ``extra``, written back, and never interpreted.  A field may be set, as libraries
that train do, and is checked then.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
from attrs import field, frozen

from registry.config import labels
from registry.config.fields import choice
from registry.config.json_file import config_text, naming
from registry.config.keywords import instead_of_attribute, unknown_keyword
from registry.config.labels import labels_of, numbered
from registry.errors import ArchitectureMismatchError, ConfigError, PluginIncompatibleError, UnknownOptionError
from registry.files.strict_json import read_json_object
from registry.namespace import reference_to, revive

METADATA_KEYS = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")
"""Keys that describe the file rather than the model: not kept, but rewritten on saving where they apply."""

RESERVED = frozenset(
    (
        "task",
        "dtype",
        "device",
        "cache_dir",
        "offline",
        "revision",
        "allow_missing",
        "allow_unexpected",
        "progress",
        "format",
    )
    + ("from_tf", "state_dict", "mesh", "parallel")
)
"""Keywords of loading; a field of the same name could not be overridden, and is refused."""


OF_CALLS = ("output_hidden_states", "output_attentions", "use_cache", "return_dict")
"""Fields that only calls of ``forward`` look at; they are written where they are not the default."""


# --- The base class ---------------------------------------------------------------------------------------------------


_UNMADE = type(field())
"""What a field is before the decorator of its class has made it one."""


def _require_decorator(cls: type) -> None:
    """Raise PluginIncompatibleError for a class whose fields attrs has not made, since the decorator is missing."""
    if "__attrs_attrs__" not in vars(cls) and any(type(value) is _UNMADE for value in vars(cls).values()):
        raise PluginIncompatibleError(
            f"{cls.__name__} derives from {cls.__mro__[1].__name__} without the decorator of a configuration.",
            hint=f"Put @frozen(kw_only=True) above `class {cls.__name__}`: from attrs import frozen.",
        )


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
    general_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Names that libraries have for a field in every architecture (``hidden_size``): name -> field."""
    most_parameters: ClassVar[int] = 10_000_000_000_000
    """Parameters of the largest model of the architecture; a file that describes a larger one is taken for damaged."""
    head_fields: ClassVar[tuple[str, ...]] = ("id2label", "num_labels")
    """Fields that only heads need: where a file has impossible values, base models are loaded all the same."""
    task_fields: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Task -> fields that it alone needs: what they say does not hinder the models of other tasks."""
    required_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that every file of the architecture has: one without them, and without ``model_type``, is of another."""

    id2label: Mapping[int, str] = field(default=None, converter=labels_of, hash=False)
    """Names of the classes, by number; ``num_labels`` alone makes LABEL_0, LABEL_1 and so on."""
    num_labels: int = field(default=None, repr=False)
    """Number of classes; 2 unless given or derived from ``id2label``."""
    output_hidden_states: bool = choice(False, (False, True))
    """Whether ``forward`` returns the hidden states of all layers, where its caller does not say."""
    output_attentions: bool = choice(False, (False, True))
    """Whether ``forward`` returns attention weights, where its caller does not say."""
    use_cache: bool = choice(True, (False, True), optional=True)
    """Whether a causal model returns what the next call continues from, where its caller does not say."""
    return_dict: bool = choice(True, (False, True), optional=True)
    """Whether ``forward`` returns a record, and not a plain tuple, where its caller does not say."""
    extra: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_immutable, eq=False, repr=False)
    """Keys of the file which this class does not declare: written back, never interpreted."""
    aside: dict[str, Any] = field(factory=dict, init=False, eq=False, repr=False)
    """Attributes that were set and that are not fields: kept, and written where JSON can hold them."""

    if not TYPE_CHECKING:  # type checkers know that all fields are keywords

        def __new__(cls, *positional: Any, **_fields: Any) -> Self:
            """A configuration, whose constructor takes fields by name alone; other libraries take sizes and paths."""
            if positional:
                given = positional[0]
                by_path = isinstance(given, (str, os.PathLike))
                line = f"from_json_file({os.fspath(given)!r})" if by_path else f"(vocab_size={given!r}), if it is that"
                raise UnknownOptionError(
                    f"{cls.__name__} takes fields by their names, and was given {given!r:.80} without one.",
                    hint=f"Write {cls.__name__}{'.' if by_path else ''}{line}.",
                )
            return object.__new__(cls)

    def __init_subclass__(cls) -> None:
        hidden = RESERVED & set(vars(cls).get("__annotations__", {}))
        if hidden:
            raise PluginIncompatibleError(
                f"{cls.__name__} has a field {sorted(hidden)[0]!r}, which is a keyword of registry.load.",
                hint="Give the field another name, and list the published key in `aliases`.",
            )
        if "__setattr__" in vars(cls):  # of attrs, for which a frozen class refuses every assignment
            type.__setattr__(cls, "__setattr__", _set_attribute)

    def __attrs_post_init__(self) -> None:
        _require_decorator(type(self))
        names, number = numbered(self.id2label, self.num_labels)
        object.__setattr__(self, "id2label", names)
        object.__setattr__(self, "num_labels", number)
        parameters = self.num_backbone_parameters()
        if parameters > self.most_parameters:
            raise ConfigError(
                f"This configuration describes a model of {parameters:,} parameters; more than "
                f"{self.most_parameters:,} parameters look like a damaged file."
            )

    def num_backbone_parameters(self) -> int:
        """The number of parameters of the model without its heads, up to small terms; a guard against absurd sizes."""
        return 0

    @property
    def total_tokens_embeddings(self) -> int | None:
        """The number of rows of the embedding, above every id; None where there is no such number."""
        return getattr(self, "vocab_size", None)

    def with_vocabulary(self, rows: int) -> Self:
        """The configuration of a model whose embedding has so many rows.

        Raises:
            ConfigError: Another field cannot be right then, such as the token of padding.
            UnknownOptionError: There is no vocabulary.
        """
        return self.replace(vocab_size=rows)

    @property
    def label2id(self) -> dict[str, int]:
        """Numbers of the classes, by name."""
        return {label: number for number, label in self.id2label.items()}

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every name by which a field can be given, other spellings included."""
        return (*cls._fields(), *cls.aliases, *cls.general_names, "label2id")

    # --- Reading

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], **overrides: Any) -> Self:
        """The configuration that the keys of a published file describe.

        Args:
            keys: Keys and values as the file has them.
            overrides: Values of fields, which replace those of the file before anything is checked.

        Raises:
            ConfigError: A value is impossible.
            UnknownOptionError: An override names no field.
        """
        known = cls._fields()
        given = cls._given(overrides)
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in keys.items():
            name = cls._field(key)
            if name in given or key in METADATA_KEYS or key in labels.KEYS:
                continue
            if name not in known:
                extra[key] = value
            elif name in fields and fields[name] != value:
                raise ConfigError(f"{name} is given twice, as {fields[name]!r} and (by the key {key!r}) as {value!r}.")
            else:
                fields[name] = value
        return cls(**fields, **{**labels.fields_of(keys, given), **given}, extra=extra)

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
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        offline: bool | None = None,
        revision: str | None = None,
        progress: bool | None = None,
        **overrides: Any,
    ) -> Self:
        """The configuration of a model.

        Args:
            pretrained_model_name_or_path: A name, path or URL.
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

        cls._given(overrides)  # refuses unknown ones before anything is fetched
        files = Files.named(
            pretrained_model_name_or_path, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress
        )
        config = read_config(files, overrides, expected=cls.architecture).config
        if not isinstance(config, cls):
            raise ArchitectureMismatchError(
                f"{pretrained_model_name_or_path} is configured by {type(config).__name__}, not {cls.__name__}."
            )
        return config

    def replace(self, **overrides: Any) -> Self:
        """The same configuration with other values for some fields; another ``num_labels`` makes new labels.

        Raises:
            UnknownOptionError: A name is not a field.
            ConfigError: A value is impossible.
        """
        if not overrides:
            return self
        fields = self._given(overrides)
        if fields.get("num_labels") == self.num_labels:
            fields.setdefault("id2label", self.id2label)
        if ("num_labels" in fields) != ("id2label" in fields):  # one of the two follows from the other
            fields.setdefault("id2label", None)
            fields.setdefault("num_labels", None)
        made = attrs.evolve(self, **fields)
        made.aside.update(self.aside)
        return made

    # --- Writing

    def with_labels(self, num_labels: int | None) -> Self:
        """The configuration for that many classes; None, or as many as it has, keeps it and the names of classes."""
        return self if num_labels in (None, self.num_labels) else self.replace(num_labels=num_labels)

    def to_dict(self) -> dict[str, Any]:
        """All keys as a published file has them, those of ``extra`` included."""
        fields = {name: getattr(self, name) for name in self._fields() if name != "num_labels"}
        unsaid = [name for name in OF_CALLS if fields[name] == attrs.fields_dict(Config)[name].default]
        fields = {name: value for name, value in fields.items() if name not in unsaid}
        fields["id2label"] = {str(number): label for number, label in self.id2label.items()}
        return {
            **self.extra,
            **{name: value for name, value in self.aside.items() if _is_json(value)},
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
    def _field(cls, key: str) -> str:
        """The name of the field that a key gives."""
        return cls.aliases.get(key) or cls.general_names.get(key, key)

    @classmethod
    def _given(cls, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that these keywords give.  Raises UnknownOptionError."""
        known = cls._fields()
        fields: dict[str, Any] = {}
        for key, value in labels.without_inverse(overrides).items():
            name = cls._field(key)
            if name not in known:
                hint = f"Its fields are: {', '.join(sorted(known))}."
                raise unknown_keyword(key, f"{cls.__name__} has no field {key!r}.", known, hint)
            if name in fields and fields[name] != value:
                raise ConfigError(f"{name} is given twice, as {fields[name]!r} and (by {key}=) as {value!r}.")
            fields[name] = value
        return fields

    @classmethod
    def _fields(cls) -> dict[str, "attrs.Attribute[Any]"]:
        return {name: a for name, a in attrs.fields_dict(cls).items() if name not in ("extra", "aside")}

    def __reduce__(self) -> tuple[Any, ...]:
        state = _plain({name: getattr(self, name) for name in (*self._fields(), "extra")})
        return _remade, (reference_to(type(self)), state, self.aside)

    def __contains__(self, name: object) -> bool:
        """Whether a field, a key of the file or an attribute that was set has this name."""
        return isinstance(name, str) and (self._field(name) in self._fields() or name in {**self.extra, **self.aside})

    if not TYPE_CHECKING:  # misspelled fields stay errors of type checkers

        def __getattr__(self, name: str) -> Any:
            """A field by another of its names (``hidden_size``), or an attribute that was set."""
            known = self._field(name)
            if known != name:
                return getattr(self, known)
            if name not in ("aside", "extra") and not name.startswith("__") and name in self.aside:
                return self.aside[name]
            advice = instead_of_attribute(name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{advice}", name=name, obj=self)


def _set_attribute(config: Config, name: str, value: Any) -> None:
    """Set an attribute of a configuration: a field is checked, with those that depend on it; others are kept aside.

    Raises:
        ConfigError: The value is impossible.
    """
    field_name = config._field(name)
    if name == "label2id":
        field_name, value = "id2label", {number: label for label, number in value.items()}
    if field_name in ("extra", "aside"):
        object.__setattr__(config, field_name, dict(value) if field_name == "aside" else _immutable(value))
    elif field_name in config._fields():
        changed = config.replace(**{field_name: value})
        for name in config._fields():
            object.__setattr__(config, name, getattr(changed, name))
    else:
        config.aside[name] = value


type.__setattr__(Config, "__setattr__", _set_attribute)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _remade(reference: str | type, state: Mapping[str, Any], aside: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """Remake a pickled configuration by its constructor, which attrs' own support of pickle does not call."""
    cls: type[Config] = type(revive(reference))
    config = cls(**state)
    config.aside.update(aside)
    return config


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with immutable mappings as dicts, which JSON and pickle accept."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
