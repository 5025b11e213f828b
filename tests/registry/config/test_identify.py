"""Which architecture a configuration file describes."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from attrs import frozen

import registry
from registry.config import Config
from registry.config.fields import size
from registry.config.identify import identify
from registry.config.load import load_config
from registry.errors import ArchitectureMismatchError, MissingFileError
from registry.records import ConfigSpec


@frozen(kw_only=True)
class SmallConfig(Config):
    """An architecture with few keys, of which none is required."""

    architecture: ClassVar[str] = "small"
    model_type: ClassVar[str] = "small"

    vocab_size: int = size(10)
    width: int = size(4)
    depth: int = size(4)
    heads: int = size(4)
    groups: int = size(4)


@pytest.fixture
def small() -> Iterator[None]:
    plugin = ModuleType("small_plugin")
    spec = ConfigSpec(
        architecture="small",
        cls=f"{__name__}:SmallConfig",
        model_types=("small", "smaller"),
        filenames=("config.json", "small_config.json"),
    )
    plugin.registry_configs = registry.hookimpl(lambda: [spec], specname="registry_configs")  # type: ignore[attr-defined]
    registry.register(plugin, name="small")
    yield
    registry.discovery.unregister("small")


def written(path: Path, keys: dict[str, Any], name: str = "config.json") -> Path:
    (path / name).write_text(json.dumps(keys))
    return path


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("model_type", ["small", "smaller"])
def test_the_model_type_decides_whatever_the_keys_are(tmp_path: Path, model_type: str) -> None:
    config = load_config(written(tmp_path, {"model_type": model_type, "hidden_size": 8, "num_attention_heads": 2}))
    assert type(config) is SmallConfig
    assert dict(config.extra) == {"hidden_size": 8, "num_attention_heads": 2}


@pytest.mark.usefixtures("small")
def test_without_a_model_type_the_keys_decide(tmp_path: Path) -> None:
    keys = {"vocab_size": 9, "width": 2, "depth": 2, "heads": 2}
    assert type(load_config(written(tmp_path, keys))) is SmallConfig


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "keys",
    [
        {"vocab_size": 9},
        {"vocab_size": 9, "width": 2},
        {"vocab_size": 9, "width": 2, "depth": 2},
        {"vocab_size": 9, "width": 2, "depth": 2, "heads": 2, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5},
    ],
)
def test_few_shared_keys_identify_no_architecture(tmp_path: Path, keys: dict[str, int]) -> None:
    """Many architectures have a ``vocab_size``, and keys that are mostly foreign are of another one."""
    with pytest.raises(ArchitectureMismatchError, match="neither its name nor its keys"):
        load_config(written(tmp_path, keys))


@pytest.mark.usefixtures("small")
def test_a_name_that_one_architecture_claims_decides_where_keys_do_not(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, {"vocab_size": 9}, "small_config.json")).vocab_size == 9


@pytest.mark.usefixtures("small")
def test_the_card_goes_before_the_keys_and_the_fallback_comes_last(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    keys = {"vocab_size": 9, "width": 2, "depth": 2, "heads": 2}
    assert identify(keys, path, declared="bert", fallback="gpt2").name == "bert"
    assert identify(keys, path, fallback="gpt2").name == "small"
    assert identify({}, path, fallback="gpt2").name == "gpt2"
    with pytest.raises(ArchitectureMismatchError):
        identify({}, path, declared="nothing-declares-it")


@pytest.mark.usefixtures("small")
def test_an_unknown_model_type_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureMismatchError, match="Did you mean 'small'") as caught:
        load_config(written(tmp_path, {"model_type": "smal"}))
    assert "bert" in str(caught.value.hint)


def test_files_without_a_configuration_are_named(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(MissingFileError, match=r"config\.json.* is among its 1 file \(weights\.bin\)"):
        load_config(tmp_path)
