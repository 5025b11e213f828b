"""Weights as torch.save writes them: what is read, and that nothing runs."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from registry.errors import (
    CorruptWeightsError,
    UnsafeWeightsError,
    WeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.weights.torch_pickle import detect, load

NAME = "pytorch_model.bin"
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2, 3]), "h": torch.ones(2, dtype=torch.float16)}

both_formats = pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])


def save(found: Any, folder: Path, archive: bool = True) -> Path:
    path = folder / NAME
    torch.save(found, path, _use_new_zipfile_serialization=archive)
    return path


class Evil:
    """Writes a file when it is unpickled by a reader that lets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@both_formats
def test_a_state_dict_comes_back(tmp_path: Path, archive: bool) -> None:
    path = save(OrderedDict(TENSORS), tmp_path, archive)
    assert detect({NAME: path})
    tensors = load({NAME: path})
    assert list(tensors) == list(TENSORS)
    assert all(
        torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )


@both_formats
def test_the_state_dict_of_a_module_comes_back_as_a_plain_dict(tmp_path: Path, archive: bool) -> None:
    module = nn.Linear(2, 3)
    tensors = load({NAME: save(module.state_dict(), tmp_path, archive)})
    assert type(tensors) is dict
    assert torch.equal(tensors["weight"], module.weight)
    assert list(load({NAME: save(dict(module.named_parameters()), tmp_path, archive)})) == ["weight", "bias"]


@both_formats
def test_w01_code_in_a_pickle_is_named_and_does_not_run(tmp_path: Path, archive: bool) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(UnsafeWeightsError, match=r"system") as caught:
        load({NAME: save({**TENSORS, "x": Evil(marker)}, tmp_path, archive)})
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)


@both_formats
def test_w01_a_pickled_module_is_refused_with_the_way_to_convert_it(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(UnsafeWeightsError, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        load({NAME: save(nn.Linear(2, 2), tmp_path, archive)})
    assert "state_dict()" in str(caught.value)


@both_formats
@pytest.mark.parametrize(
    "found",
    [bytearray(4), {1, 2}, 1j, torch.Size([2]), torch.float16, torch.device("cpu"), slice(1), range(3), Path("x")],
    ids=lambda found: type(found).__name__,
)
def test_w03_values_that_state_dicts_do_without_are_refused(tmp_path: Path, archive: bool, found: object) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"a": found}, tmp_path, archive)})


def rewrite(path: Path, change: Callable[[dict[str, bytes]], Any], **how: Any) -> Path:
    """Write an archive of torch anew, after a change to its records."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    change(records)
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def pickled(text: bytes, folder: Path) -> Path:
    """An archive of torch with another pickle in it."""
    return rewrite(save({}, folder), lambda records: records.update({f"{Path(NAME).stem}/data.pkl": text}))


@pytest.mark.parametrize(
    "text",
    [
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02(ios\nsystem\n.",
        b"\x80\x02(cos\nsystem\no.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        pickle.dumps({"a": 1}, protocol=0),
        pickle.dumps({"a": 1}, protocol=4),
        pickle.dumps({"a": {1, 2}}, protocol=5),
    ],
)
def test_w02_instructions_beyond_the_few_that_are_needed_are_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: pickled(text, tmp_path)})


@pytest.mark.parametrize("text", [b"", b"\x80\x02", b"\x80\x02}", b"\xff", b"\x80\x02X\xff\xff\xff\xff."])
def test_a_pickle_that_breaks_off_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(CorruptWeightsError):
        load({NAME: pickled(text, tmp_path)})


@both_formats
def test_w04_a_tensor_larger_than_its_memory_is_refused(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(WeightsMismatchError, match=r"1000000"):
        load({NAME: save({"a": torch.ones(1).expand(1_000_000, 1_000_000)}, tmp_path, archive)})


def test_w07_archives_that_torch_would_not_have_written_are_refused(tmp_path: Path) -> None:
    root = Path(NAME).stem
    changes: list[tuple[Callable[[dict[str, bytes]], Any], dict[str, Any]]] = [
        (lambda records: None, {"compression": zipfile.ZIP_DEFLATED}),
        (lambda records: records.update({f"{root}/DATA.PKL": b""}), {}),
        (lambda records: records.update({"other/data/0": b""}), {}),
        (lambda records: records.update({f"{root}/code/model.py": b""}), {}),
        (lambda records: records.update({f"{root}/data/../../x": b""}), {}),
    ]
    for change, how in changes:
        with pytest.raises(UnsafeWeightsError):
            load({NAME: rewrite(save(TENSORS, tmp_path), change, **how)})


def test_w08_memory_that_is_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    storage = f"{Path(NAME).stem}/data/0"
    for change in (lambda records: records.pop(storage), lambda records: records.update({storage: b"1234"})):
        with pytest.raises(CorruptWeightsError):
            load({NAME: rewrite(save(TENSORS, tmp_path), change)})


@both_formats
def test_w09_a_file_cut_off_anywhere_is_refused(tmp_path: Path, archive: bool) -> None:
    path = save({f"layer.{number}.weight": torch.ones(16) for number in range(6)}, tmp_path, archive)
    whole = path.read_bytes()
    assert len(whole) > 1000
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptWeightsError) as caught:
            load({NAME: path})
        assert "weights_only" not in str(caught.value)


@both_formats
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict"])
def test_w14_the_state_dict_in_a_training_checkpoint_is_found(tmp_path: Path, archive: bool, wrapper: str) -> None:
    found = {"epoch": 3, wrapper: OrderedDict(TENSORS), "optimizer": {"state": [1.0, None, True], "step": 2}}
    assert list(load({NAME: save(found, tmp_path, archive)})) == list(TENSORS)


@both_formats
@pytest.mark.parametrize(
    "found", [{"a": 1}, {3: torch.ones(1)}, {"other": TENSORS}, [torch.ones(1)], torch.ones(1), None], ids=str
)
def test_w14_what_is_no_state_dict_is_refused(tmp_path: Path, archive: bool, found: object) -> None:
    with pytest.raises(WeightsMismatchError):
        load({NAME: save(found, tmp_path, archive)})


@both_formats
def test_w13_a_dict_that_overrides_its_methods_is_read_as_what_it_holds(tmp_path: Path, archive: bool) -> None:
    found = OrderedDict(TENSORS)
    vars(found)["values"] = {"x": 1}
    found._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    assert list(load({NAME: save(found, tmp_path, archive)})) == list(TENSORS)


def test_w20_other_pickles_are_refused(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / NAME).write_bytes(pickle.dumps({"a": [1.0]}, protocol=protocol))
        assert not detect({NAME: tmp_path / NAME})
        with pytest.raises(WeightsError):
            load({NAME: tmp_path / NAME})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_w20_a_scripted_module_is_refused(tmp_path: Path) -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x

    torch.jit.save(torch.jit.trace(Doubled(), torch.ones(1)), str(tmp_path / NAME))
    with pytest.raises(UnsafeWeightsError):
        load({NAME: tmp_path / NAME})


def test_w12_a_pickle_beyond_all_need_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsLimitError):
        load({NAME: pickled(b"\x80\x02" + b"N" * (64 * 2**20 + 1) + b".", tmp_path)})


@both_formats
def test_w21_sparse_and_quantised_tensors_are_refused(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"a": torch.ones(2, 2).to_sparse()}, tmp_path, archive)})


@both_formats
def test_w24_the_environment_cannot_switch_the_protection_off(
    tmp_path: Path, archive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "marker"
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"x": Evil(marker)}, tmp_path, archive)})
    assert not marker.exists()


@both_formats
def test_w25_names_that_a_plugin_made_safe_are_refused_all_the_same(tmp_path: Path, archive: bool) -> None:
    with torch.serialization.safe_globals([os.system]), pytest.raises(UnsafeWeightsError):
        load({NAME: save({"x": Evil(tmp_path / "marker")}, tmp_path, archive)})
    assert not (tmp_path / "marker").exists()


@both_formats
def test_w28_damaged_files_raise_nothing_but_our_errors(tmp_path: Path, archive: bool) -> None:
    path = save(TENSORS, tmp_path, archive)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with suppress(WeightsError):
            load({NAME: path})


@both_formats
def test_tensors_stay_valid_when_their_file_is_removed(tmp_path: Path, archive: bool) -> None:
    path = save(TENSORS, tmp_path, archive)
    tensors = load({NAME: path})
    path.unlink()
    assert torch.equal(tensors["a"], TENSORS["a"])


def test_w05_w06_a_legacy_file_without_the_memory_of_its_tensors_is_refused(tmp_path: Path) -> None:
    path = save(TENSORS, tmp_path, archive=False)
    whole = path.read_bytes()
    keys = whole.rindex(b"\x80\x02]")
    for damaged in (
        whole[:keys] + b"\x80\x02].",
        whole + bytes(8),
        whole[:-8],
        whole[:keys] + whole[keys:].replace(b"e.", b".", 1),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CorruptWeightsError):
            load({NAME: path})


def test_w12_places_beyond_all_need_are_refused_before_room_is_made(tmp_path: Path) -> None:
    with pytest.raises(WeightsLimitError):
        load({NAME: pickled(b"\x80\x02}r\xff\xff\xff\x7f.", tmp_path)})
