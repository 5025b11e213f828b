"""Checks of the configuration: it restores its file, and refuses invalid values."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from registry import discovery
from registry.config import Config
from registry.config.load import load_config
from registry.errors import ConfigError, UnknownOptionError
from registry.testing.suite import Suite

FOREIGN = {"a_key_of_the_future": {"nested": [1, None, "ü"]}}
"""A key that no class has as a field."""

SHARED_FIELDS = frozenset(attrs.fields_dict(Config))
"""Fields of every configuration; the core tests these."""


class ConfigSuite(Suite):
    """Reading, writing and validation of configurations."""

    def test_the_defaults_are_a_configuration(self) -> None:
        """The class can be constructed without arguments: its defaults are those of a published model."""
        discovery.load_class(self.config_spec())()

    def test_a_configuration_survives_its_file(self, registry_directory: Path) -> None:
        """A mapping, a file and a pickle of it restore an equal configuration, with an equal hash."""
        config = self.make_config()
        config.to_json_file(registry_directory / "config.json")
        written = json.loads((registry_directory / "config.json").read_text("utf-8"))
        copies = (
            type(config).from_dict(config.to_dict()),
            type(config).from_json_file(registry_directory / "config.json"),
            pickle.loads(pickle.dumps(config)),  # noqa: S301  # made on the line itself
        )
        for copy in copies:
            assert copy == config
            assert hash(copy) == hash(config)
            assert copy.to_dict() == written

    def test_every_key_of_a_file_becomes_its_field(self) -> None:
        """Every key of the tiny configuration is the value of the field of that name, and is written under it again."""
        config = self.make_config()
        for key, value in self.config.items():
            field = config.aliases.get(key, key)
            assert field in attrs.fields_dict(type(config)), f"{key!r} of the tiny configuration is not a field"
            assert config.to_dict()[field] == value, f"{key} is {value!r} in the file, but another value is written"

    def test_unknown_keys_are_kept_and_written_back(self) -> None:
        """Files have keys of other libraries and of later versions; a fine-tuned model keeps them."""
        config = self.make_config(**FOREIGN)
        assert dict(config.extra) == FOREIGN
        assert config.to_dict().items() >= FOREIGN.items()
        assert config == self.make_config(), "unknown keys must not make two configurations unequal"

    def test_a_field_may_be_set_and_is_checked(self) -> None:
        """Libraries that train set fields; other names are kept aside, and ``replace`` returns a changed copy."""
        config: Any = self.make_config()
        assert config.replace(num_labels=7).num_labels == 7
        assert config.num_labels != 7
        config.num_labels = 7
        assert (config.num_labels, len(config.id2label)) == (7, 7)
        with pytest.raises(ConfigError):
            config.num_labels = 0
        config.no_field = 7
        assert config.no_field == config.to_dict()["no_field"] == 7
        assert config == self.make_config(num_labels=7), (
            "attributes without a field must not make two configurations unequal"
        )

    def test_impossible_values_are_refused(self) -> None:
        """Every field refuses values of another type or range with a ConfigError that names the field."""
        config = self.make_config()
        accepted = [f"{name}={value!r}" for name, value in impossible(config) if not _refuses(config, name, value)]
        assert not accepted, f"not refused with a ConfigError that names the field: {', '.join(accepted)}"

    def test_an_unknown_override_is_refused(self) -> None:
        """A misspelled keyword is an error and not an unknown key that is kept."""
        with pytest.raises(UnknownOptionError):
            self.make_config().replace(no_such_field=1)

    def test_its_files_are_recognized(self, registry_directory: Path) -> None:
        """Each declared ``model_type``, in each declared file name, identifies this architecture."""
        spec, config = self.config_spec(), self.make_config()
        for number, filename in enumerate(spec.filenames):
            for model_type in spec.model_types:
                directory = registry_directory / f"{number}-{model_type}"
                directory.mkdir()
                (directory / filename).write_text(json.dumps({**config.to_dict(), "model_type": model_type}))
                assert load_config(directory) == config, f"{filename} with the model_type {model_type!r}"


def impossible(config: Config) -> Iterator[tuple[str, Any]]:
    """Pairs of a field's name and a value that is invalid for it."""
    for name in attrs.fields_dict(type(config)):
        if name in SHARED_FIELDS:
            continue
        value = getattr(config, name)
        yield name, {"no such key": None}
        yield name, float("nan")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, "many"
            yield name, 10**30


def _refuses(config: Config, name: str, value: Any) -> bool:
    try:
        type(config).from_dict({**config.to_dict(), name: value})
    except ConfigError as refusal:
        return name in str(refusal)
    except Exception:  # noqa: BLE001  # of another type than promised: the class is wrong
        return False
    return False
