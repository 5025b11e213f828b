"""The base of every configuration: typed, checked, immutable, and faithful to the published file.

A configuration is a frozen attrs class whose fields are the keys of the published ``config.json``.  Keys that a class
does not know are kept in ``extra``, written back, and never interpreted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import attrs
from attrs import field, frozen

from registry import discovery
from registry.download.policy import Policy
from registry.errors import (
    ArchitectureMismatchError,
    ConfigError,
    MissingFileError,
    PluginIncompatibleError,
    UnknownOptionError,
    did_you_mean,
)
from registry.files.strict_json import read_json_object
from registry.records import ConfigSpec, Paths, reference_to, revive
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.sources.source import Source

MOST_PARAMETERS = 20_000_000_000
"""No model of this library is larger; a configuration that asks for more is taken for damaged."""

METADATA_KEYS = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")
"""Keys that describe the file rather than the model: not kept, but written anew on saving where they apply."""

RESERVED = frozenset(
    ("task", "dtype", "device", "cache_dir", "offline", "revision", "allow_missing", "allow_unexpected", "progress")
    + ("from_tf", "state_dict", "mesh", "parallel")
)
"""Keywords of loading; a field of the same name could not be overridden, and is refused."""


def _extra(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


def _labels(value: object) -> Mapping[int, str] | None:
    """Normalise ``id2label``; its keys are numbers, which JSON can only spell as strings."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"id2label must map numbers to labels, not be {value!r}.")
    try:
        labels = {int(number): label for number, label in value.items()}
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"id2label must have whole numbers as keys, not {list(value)[:3]!r}.") from problem
    if len(labels) < len(value):
        raise ConfigError(f"id2label names a number twice: {list(value)!r}.")
    if sorted(labels) != list(range(len(labels))) or not labels:
        raise ConfigError(f"id2label must number its labels from 0 without gaps, not {sorted(labels)[:5]!r}.")
    if not all(isinstance(label, str) for label in labels.values()):
        raise ConfigError("id2label must map numbers to labels that are texts.")
    return MappingProxyType(labels)


# --- The base ---------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Config:
    """The base of every configuration.

    A subclass is decorated ``@frozen(kw_only=True)``, names its ``architecture`` and ``model_type``, and declares one
    field for each published key, with a check from ``registry.config.fields``.  Rules between fields are attrs
    validators which raise ``ConfigError``.
    """

    architecture: ClassVar[str]
    model_type: ClassVar[str]
    """The value of ``model_type`` in a saved file."""
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Other spellings of keys: spelling -> field."""
    required_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that every file of the architecture has: one without them, and without ``model_type``, is of another."""

    id2label: Mapping[int, str] = field(default=None, converter=_labels, hash=False)
    """Names of the classes, by number; ``num_labels`` alone makes LABEL_0, LABEL_1 and so on."""
    num_labels: int = field(default=None, repr=False)
    """Number of classes; 2 unless given or derived from ``id2label``."""
    extra: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_extra, eq=False, repr=False)
    """Keys of the file which this class does not know: written back, never interpreted."""

    def __init_subclass__(cls) -> None:
        hidden = RESERVED & set(vars(cls).get("__annotations__", {}))
        if hidden:
            raise PluginIncompatibleError(
                f"{cls.__name__} has a field {sorted(hidden)[0]!r}, which is a keyword of registry.load.",
                hint="Give the field another name, and list the published key in `aliases`.",
            )

    def __attrs_post_init__(self) -> None:
        number = self.num_labels
        if number is None:
            number = 2 if self.id2label is None else len(self.id2label)
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1_000_000:
            raise ConfigError(f"num_labels must be a whole number from 1 to 1,000,000, not {number!r}.")
        if self.id2label is None:
            object.__setattr__(self, "id2label", MappingProxyType({i: f"LABEL_{i}" for i in range(number)}))
        elif len(self.id2label) != number:
            raise ConfigError(f"num_labels is {number}, but id2label names {len(self.id2label)} labels.")
        object.__setattr__(self, "num_labels", number)
        parameters = self.num_trunk_parameters()
        if parameters > MOST_PARAMETERS:
            raise ConfigError(
                f"This configuration describes a model of {parameters:,} parameters; at most {MOST_PARAMETERS:,} are "
                f"taken for meant."
            )

    def num_trunk_parameters(self) -> int:
        """Parameters of the model without its heads, up to small terms; a guard against absurd sizes."""
        return 0

    @property
    def total_tokens_embeddings(self) -> int | None:
        """Rows of the embedding: ids are lower than that; None where there is no such number."""
        return getattr(self, "vocab_size", None)

    @property
    def label2id(self) -> dict[str, int]:
        """Numbers of the classes, by name."""
        return {label: number for number, label in self.id2label.items()}

    # --- reading

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the keys of a published file; ``overrides`` replace fields.

        Raises ConfigError when a value is impossible, and UnknownOptionError when an override names no field.
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

    def replace(self, **overrides: Any) -> Self:
        """The same configuration with other values for some fields.

        ``num_labels`` alone makes new labels.  Raises UnknownOptionError for a name that is no field.
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

    @classmethod
    def from_json_file(cls, path: str | Path) -> Self:
        """Read the configuration in a file.  Raises ConfigError, which names the file and the key."""
        return cls._from_file_keys(read_json_object(Path(path)), Path(path))

    @classmethod
    def _from_file_keys(cls, keys: Mapping[str, Any], path: Path, **overrides: Any) -> Self:
        try:
            config = cls.from_dict(keys)
        except ConfigError as problem:
            raise ConfigError(f"{path}: {problem.message}", hint=problem.hint) from problem
        return config.replace(**overrides)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, cache_dir: str | Path | None = None, **overrides: Any) -> Self:
        """Read the configuration of a model, by name, path or address; ``overrides`` replace fields.

        Raises ArchitectureMismatchError when the model is of another architecture.
        """
        config = load_config(name_or_path, cache_dir=cache_dir, expected=cls.architecture, **overrides)
        if not isinstance(config, cls):
            raise ArchitectureMismatchError(
                f"{name_or_path} is configured by {type(config).__name__}, not {cls.__name__}."
            )
        return config

    # --- writing

    def to_dict(self) -> dict[str, Any]:
        """All keys as a published file has them, unknown ones included."""
        fields = {name: getattr(self, name) for name in self._fields() if name != "num_labels"}
        fields["id2label"] = {str(number): label for number, label in self.id2label.items()}
        return {
            **self.extra,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in _state_of(fields).items()},
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

    # --- inside

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every name by which a field can be given, other spellings included."""
        return (*cls._fields(), *cls.aliases)

    @classmethod
    def _fields(cls) -> dict[str, "attrs.Attribute[Any]"]:
        return {name: a for name, a in attrs.fields_dict(cls).items() if name != "extra"}

    def __reduce__(self) -> tuple[Any, ...]:
        state = _state_of({name: getattr(self, name) for name in (*self._fields(), "extra")})
        return _remade, (reference_to(type(self)), state)


def _remade(reference: str | type, state: Mapping[str, Any]) -> Config:
    """Remake a pickled configuration by its constructor, which what attrs gives its classes for pickle passes by."""
    cls: type[Config] = type(revive(reference))
    return cls(**state)


def _state_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in which mappings that nobody can change are dicts, which JSON and pickle know."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}


def config_text(keys: Mapping[str, Any]) -> str:
    """The text of a ``config.json``: sorted keys, two spaces, a final newline.

    Raises ConfigError for what JSON cannot hold: NaN, and objects.
    """
    try:
        return json.dumps(keys, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"This configuration cannot be written as JSON: {problem}.") from problem


# --- Which architecture is it? ----------------------------------------------------------------------------------------


def load_config(
    name: str | Path,
    *,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    expected: str | None = None,
    **overrides: Any,
) -> Config:
    """Read the configuration of a model, by name, path or address; needs no torch.

    ``expected`` names the architecture that the caller can use.  Raises UnknownModelError, MissingFileError,
    ConfigError, and ArchitectureMismatchError when the files are of another architecture than expected.
    """
    resolution = resolve(name, revision=revision)
    paths = Files(resolution, Policy(cache_dir=cache_dir, offline=offline)).of("config")
    return read_config(resolution, paths, expected=expected, **overrides)[0]


def read_config(
    resolution: Source, paths: Paths, *, expected: str | None = None, **overrides: Any
) -> tuple[Config, dict[str, Any]]:
    """Read the configuration among ``paths``; return it with the keys of its file as they stand there."""
    path = _config_path(resolution, paths)
    keys = read_json_object(path)
    declared = None if resolution.card is None else resolution.card.architecture
    spec = identify(keys, path.name, declared=declared, fallback=expected, origin=str(path))
    if expected is not None and spec.architecture != expected:
        raise ArchitectureMismatchError(
            f"{resolution} holds a model of the architecture {spec.architecture!r}, where {expected!r} is needed.",
            hint=f"registry.load({str(resolution.asked)!r}) picks the class that fits.",
        )
    cls: type[Config] = discovery.load_class(spec)
    return cls._from_file_keys(keys, path, **overrides), keys


def _config_path(resolution: Source, paths: Paths) -> Path:
    if "config.json" in paths:
        return paths["config.json"]
    names = dict.fromkeys(name for spec in discovery.every(ConfigSpec) for name in spec.filenames)
    for name in names:
        if name in paths:
            return paths[name]
    raise MissingFileError(
        f"{resolution} has no configuration: none of {', '.join(names) or 'config.json'} is among its "
        f"{len(paths)} files{_sample(paths)}.",
        hint="Write one with `config.to_json_file(path)`, or save the model with `registry.save(model, directory)`.",
    )


def _sample(paths: Paths) -> str:
    return f" ({', '.join(sorted(paths)[:5])})" if paths else ""


def identify(
    keys: Mapping[str, Any], filename: str, *, declared: str | None = None, fallback: str | None = None, origin: str
) -> ConfigSpec:
    """Decide which architecture a configuration file belongs to.

    The architecture comes from ``model_type``; where the file has none (the ancestor wrote none), from the card, from
    the keys, or from the name of the file.  ``fallback`` is taken when nothing else tells.
    """
    if "model_type" in keys:
        model_type = keys["model_type"]
        found = discovery.architecture_of_model_type(model_type)
        if found is not None:
            return found
        known = [word for spec in discovery.every(ConfigSpec) for word in spec.model_types]
        raise ArchitectureMismatchError(
            f"{origin} says model_type {model_type!r}, which no installed plugin claims."
            f"{did_you_mean(str(model_type), known)}",
            hint=f"Install a plugin that declares it; installed ones claim: {', '.join(known) or 'nothing'}."
            + discovery.failures(),
        )
    named = declared or _by_keys(keys) or _by_file_name(filename) or fallback
    found = None if named is None else discovery.architecture(named).config
    if found is not None:
        return found
    raise ArchitectureMismatchError(
        f"{origin} has no model_type, and neither its name nor its keys ({', '.join(sorted(keys)[:6]) or 'none'}) are "
        f"those of an installed architecture.",
        hint='Add "model_type" to the file, or load it with the class that it was written for.' + discovery.failures(),
    )


def _by_file_name(filename: str) -> str | None:
    owners = [spec.architecture for spec in discovery.every(ConfigSpec) if filename in spec.filenames]
    return owners[0] if len(owners) == 1 else None


def _by_keys(keys: Mapping[str, Any]) -> str | None:
    """The architecture whose fields are most like ``keys``, by Jaccard's index, if one stands out and most keys fit."""
    likeness: dict[str, float] = {}
    for spec in discovery.every(ConfigSpec):
        cls: type[Config] = discovery.load_class(spec)
        known = (set(cls._fields()) | set(cls.aliases)) - set(Config._fields())
        shared = known & set(keys)
        likely = 2 * len(shared) >= len(set(keys) - set(METADATA_KEYS)) and len(shared) >= 4
        if likely and shared.issuperset(cls.required_keys):
            likeness[spec.architecture] = len(shared) / len(known | set(keys))
    best = sorted(likeness, key=lambda name: likeness[name], reverse=True)
    if not best or (len(best) > 1 and likeness[best[0]] == likeness[best[1]]):
        return None
    return best[0]
