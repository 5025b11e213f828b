"""Weights in several files, with an index; the same in both formats."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsError
from registry.records import Paths
from registry.weights import safetensors
from registry.weights.torch import reader as torch_pickle

TENSORS = {"a": torch.arange(4.0), "b": torch.ones(2, 2), "c": torch.zeros(3)}
WHERE = {"a": 1, "b": 2, "c": 2}

Load = Callable[[Paths], Mapping[str, Tensor]]


class Folder:
    """A sharded checkpoint that a test may spoil before it is loaded."""

    def __init__(
        self, path: Path, stem: str, ending: str, save: Callable[[Any, Any], None], load: Load, detect: Any
    ) -> None:
        self.path, self.load_paths, self.detect, self.save = path, load, detect, save
        self.shards = {number: f"{stem}-0000{number}-of-00002.{ending}" for number in (1, 2)}
        self.index = f"{stem}.{ending}.index.json"
        for number, shard in self.shards.items():
            save({name: TENSORS[name] for name in WHERE if WHERE[name] == number}, path / shard)
        self.write({"metadata": {"total_size": 44}, "weight_map": self.weight_map()})

    def weight_map(self, **changes: str) -> dict[str, str]:
        return {**{name: self.shards[number] for name, number in WHERE.items()}, **changes}

    def write(self, index: object) -> None:
        (self.path / self.index).write_text(index if isinstance(index, str) else json.dumps(index))

    def paths(self) -> dict[str, Path]:
        return {path.name: path for path in self.path.iterdir()}

    def load(self) -> Mapping[str, Tensor]:
        assert self.detect(self.paths())
        return self.load_paths(self.paths())


@pytest.fixture(params=["safetensors", "torch"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "safetensors":
        return Folder(tmp_path, "model", "safetensors", save_file, safetensors.load, safetensors.detect)
    return Folder(tmp_path, "pytorch_model", "bin", torch.save, torch_pickle.load, torch_pickle.detect)


def test_all_shards_are_read_as_one(folder: Folder) -> None:
    tensors = folder.load()
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)


def test_an_index_need_not_tell_the_total_size(folder: Folder) -> None:
    folder.write({"weight_map": folder.weight_map()})
    assert len(folder.load()) == 3


def test_a_missing_shard_is_named(folder: Folder) -> None:
    (folder.path / folder.shards[2]).unlink()
    with pytest.raises(CorruptWeightsError, match=folder.shards[2]):
        folder.load()


def test_a_tensor_that_the_index_lists_twice_is_refused(folder: Folder) -> None:
    pairs = ", ".join(f'"{name}": "{folder.shards[number]}"' for name, number in [*WHERE.items(), ("a", 2)])
    folder.write(f'{{"weight_map": {{{pairs}}}}}')
    with pytest.raises(CorruptWeightsError, match="'a' occurs twice"):
        folder.load()


@pytest.mark.parametrize("shard", ["../outside", "/etc/passwd", "a/b", "..", ".", "", "a\\b"])
def test_a_shard_elsewhere_is_refused(folder: Folder, shard: str) -> None:
    folder.write({"weight_map": folder.weight_map(a=shard)})
    with pytest.raises(UnsafeWeightsError, match="in the directory of their index"):
        folder.load()


def test_a_tensor_in_the_wrong_shard_is_refused(folder: Folder) -> None:
    folder.write({"weight_map": folder.weight_map(b=folder.shards[1])})
    with pytest.raises(CorruptWeightsError, match="'b'"):
        folder.load()


def test_a_tensor_that_the_index_does_not_list_is_refused(folder: Folder) -> None:
    where = folder.weight_map()
    del where["c"]
    folder.write({"weight_map": where})
    with pytest.raises(CorruptWeightsError, match="'c'"):
        folder.load()


def test_a_wrong_total_size_is_refused(folder: Folder) -> None:
    folder.write({"metadata": {"total_size": 45}, "weight_map": folder.weight_map()})
    with pytest.raises(CorruptWeightsError, match="45"):
        folder.load()


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 1}}, "{", '{"weight_map"']
)
def test_a_damaged_index_is_refused(folder: Folder, index: object) -> None:
    folder.write(index)
    with pytest.raises(CorruptWeightsError):
        folder.load()


def test_tied_tensors_may_be_counted_once_or_by_name(tmp_path: Path) -> None:
    tied = torch.ones(3)
    for total in (12, 24):
        torch.save({"a": tied, "b": tied}, tmp_path / "pytorch_model-1.bin")
        index = {"metadata": {"total_size": total}, "weight_map": dict.fromkeys("ab", "pytorch_model-1.bin")}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        assert len(torch_pickle.load({path.name: path for path in tmp_path.iterdir()})) == 2


plain = st.one_of(st.integers(-1, 50), st.sampled_from([44, 2**63, 0.5, None, True, "a", "b", "..", "1", "2"]))
json_values = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3))
)
maps = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", "2", "3", "../1", ""]), max_size=4)
indexes = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {"weight_map": st.one_of(st.just({name: str(number) for name, number in WHERE.items()}), maps, json_values)},
        optional={"metadata": st.one_of(st.fixed_dictionaries({"total_size": plain}), json_values), "x": json_values},
    ),
)


@given(indexes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_index_holds_nothing_but_our_errors_is_raised(
    limits: Callable[..., Any], folder: Folder, index: object
) -> None:
    text = json.dumps(index)
    for number, shard in folder.shards.items():
        text = text.replace(f'"{number}"', f'"{shard}"')
    folder.write(text)
    with suppress(WeightsError), limits(seconds=60):
        assert all(torch.equal(TENSORS[name], found) for name, found in folder.load_paths(folder.paths()).items())
