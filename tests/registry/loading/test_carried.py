"""Formats of weights that carry the configuration and the tokenizer as well."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attrs import evolve
from safetensors.torch import save_file
from torch import Tensor

import registry
from registry import discovery
from registry.errors import ArchitectureMismatchError, MissingFileError, MissingTokenizerError, VocabError
from registry.hookspecs import hookimpl
from registry.records import Card, FileSpec, WeightLoaderSpec
from registry.zoo import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

READ: list[str] = []
"""What was read of the files, in order."""


def is_crate(paths: Any) -> bool:
    return any(name.endswith(".crate") for name in paths)


def _part(paths: Any, part: str) -> Any:
    READ.append(part)
    return json.loads(next(path for name, path in paths.items() if name.endswith(".crate")).read_text())[part]


def config_in(paths: Any) -> Any:
    return _part(paths, "config")


def tokenizer_in(paths: Any) -> Any:
    return _part(paths, "tokenizer")


def weights_in(paths: Any) -> dict[str, Tensor]:
    return {name: torch.tensor(numbers) for name, numbers in _part(paths, "weights").items()}


@pytest.fixture(autouse=True)
def _plugin() -> Iterator[None]:
    here = __name__
    assert here in sys.modules
    READ.clear()
    functions = {"detect": "is_crate", "loader": "weights_in", "config": "config_in", "tokenizer": "tokenizer_in"}
    spec = WeightLoaderSpec(
        format="crate", filenames=("model.crate",), **{field: f"{here}:{name}" for field, name in functions.items()}
    )
    discovery.register(SimpleNamespace(registry_weight_loaders=hookimpl(lambda: [spec])), "crate")
    yield
    discovery.unregister("crate")


@pytest.fixture
def keys() -> dict[str, Any]:
    """A model with a tokenizer."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=4, n_positions=8, n_embd=4, n_layer=1, n_head=1))
    tokenizer = GPT2Tokenizer({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, [("a", "b")])
    return {
        "config": model.config.to_dict(),
        "tokenizer": dict(tokenizer.vocabulary_files()),
        "weights": {name: tensor.tolist() for name, tensor in model.published_weights().items()},
    }


def crate(directory: Path, keys: dict[str, Any]) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "model.crate"
    path.write_text(json.dumps(keys))
    return path


@pytest.mark.parametrize("alone", [True, False], ids=["the file", "its directory"])
def test_one_file_is_a_whole_model_of_an_architecture_of_another_plugin(keys: Any, alone: bool, tmp_path: Path) -> None:
    path = crate(tmp_path / "one", keys)
    place = path if alone else path.parent
    loaded = registry.load(place)
    assert type(loaded.model) is GPT2LMHeadModel
    assert loaded.tokenizer.encode("abab") == [2, 2]
    READ.clear()
    assert registry.load_config(place) == loaded.config
    assert registry.load_tokenizer(place).encode("ba") == [1, 0]
    assert GPT2Tokenizer.from_pretrained(place).encode("b") == [1]
    assert "weights" not in READ
    again = registry.load(loaded.save(tmp_path / "saved"))
    assert again.tokenizer.encode("abab") == [2, 2]


def test_a_card_may_name_the_one_file_alone(keys: Any, tmp_path: Path) -> None:
    path = crate(tmp_path, keys)
    file = FileSpec(role="weights", filename="model.crate", urls=(f"file:{path}",))
    card = Card(name="our-crate", architecture="gpt2", task="causal-lm", files=(file,))
    discovery.register(SimpleNamespace(registry_cards=hookimpl(lambda: [card])), "cards")
    try:
        assert registry.load("our-crate").tokenizer.encode("ab") == [2]
    finally:
        discovery.unregister("cards")


def test_files_of_their_own_go_before_what_the_format_carries(keys: Any, tmp_path: Path) -> None:
    path = crate(tmp_path / "all", keys)
    changed = {**keys["config"], "attn_pdrop": 0.25}
    (path.parent / "config.json").write_text(json.dumps(changed))
    GPT2Tokenizer({"a": 0, "b": 1, "<|endoftext|>": 2}, []).save_pretrained(path.parent)
    loaded = registry.load(path.parent)
    assert loaded.config.attn_pdrop == 0.25
    assert loaded.tokenizer.encode("ab") == [0, 1]
    assert READ == ["weights"]


def test_a_file_may_have_no_tokenizer(keys: Any, tmp_path: Path) -> None:
    path = crate(tmp_path, {**keys, "tokenizer": {}})
    for place in (path, path.parent):
        with pytest.raises(MissingTokenizerError):
            registry.load(place).tokenizer  # noqa: B018  # raises


def test_errors_name_the_file_that_carries(keys: Any, tmp_path: Path) -> None:
    path = crate(tmp_path, {**keys, "tokenizer": {"vocab.json": "{", "merges.txt": ""}})
    with pytest.raises(VocabError, match=r"model\.crate': vocab\.json"):
        registry.load_tokenizer(path)
    crate(tmp_path, {**keys, "config": {"model_type": "gpt9"}})
    with pytest.raises(ArchitectureMismatchError, match=r"model\.crate has model_type 'gpt9'"):
        registry.load_config(path)


def test_a_single_vocabulary_is_not_taken_for_a_model(tmp_path: Path) -> None:
    GPT2Tokenizer({"a": 0, "<|endoftext|>": 1}, []).save_pretrained(tmp_path)
    with discovery.only("gpt2"):  # no other plugin is needed, nor asked
        assert GPT2Tokenizer.from_pretrained(tmp_path / "vocab.json").encode("a") == [0]
    assert READ == []


def test_other_files_without_a_configuration_stay_without_one(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(MissingFileError, match="has no configuration"):
        registry.load(tmp_path)


def test_a_format_may_carry_the_configuration_alone(keys: Any, tmp_path: Path) -> None:
    (spec,) = (spec for spec in discovery.weight_loaders() if spec.format == "crate")
    discovery.unregister("crate")
    for field, expected in (("tokenizer", MissingTokenizerError), ("config", MissingFileError)):
        less = evolve(spec, **{field: None})
        discovery.register(SimpleNamespace(registry_weight_loaders=hookimpl(lambda less=less: [less])), "crate")
        with pytest.raises(expected):
            registry.load(crate(tmp_path, keys)).tokenizer  # noqa: B018  # raises
        if field == "tokenizer":
            discovery.unregister("crate")
