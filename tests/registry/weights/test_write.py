import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from registry.errors import CorruptWeightsError, SaveError
from registry.weights.checkpoint import open_checkpoint
from registry.weights.write import WRITE_FORMATS, weight_writers


def write(folder: Path, tensors: dict[str, Tensor], **options: object) -> list[str]:
    writers = weight_writers(tensors, **options)  # type: ignore[arg-type]
    for name, writer in writers.items():
        writer(folder / name)
    return list(writers)


def read_safe(folder: Path) -> dict[str, Tensor]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


def read_torch(folder: Path) -> dict[str, Tensor]:
    found = {}
    for path in sorted(folder.glob("*.bin")):
        found |= torch.load(path, weights_only=True)
    return found


@pytest.mark.parametrize(("format", "read"), [("safetensors", read_safe), ("torch", read_torch)])
@pytest.mark.parametrize("limit", [None, 16, "1KB"])
def test_every_tensor_comes_back_bit_for_bit(tmp_path: Path, format: str, read: object, limit: object) -> None:
    base = torch.arange(24.0)
    tensors = {
        "plain": torch.tensor([1.5, float("nan"), -0.0]),
        "transposed": base.view(4, 6).t(),
        "slice": base[3:5],
        "half": base.half(),
        "number": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(base.clone()),
    }
    write(tmp_path, tensors, format=format, max_shard_size=limit)
    found = read(tmp_path)  # type: ignore[operator]
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert (
            found[name]
            .contiguous()
            .view(-1)
            .view(torch.uint8)
            .equal(tensor.detach().contiguous().view(-1).view(torch.uint8))
        )


def test_a_slice_does_not_take_the_whole_tensor_along(tmp_path: Path) -> None:
    write(tmp_path, {"slice": torch.zeros(1_000_000)[:3]}, format="torch")
    assert (tmp_path / "pytorch_model.bin").stat().st_size < 5000


def test_declared_ties_are_left_out_of_safetensors_and_kept_by_torch(tmp_path: Path) -> None:
    shared = torch.zeros(5)
    tensors = {"head": shared, "words": shared, "other": torch.ones(5)}
    ties = [("words", "head", "absent")]
    write(tmp_path, tensors, ties=ties)
    write(tmp_path, tensors, ties=ties, format="torch")
    assert set(read_safe(tmp_path)) == {"words", "other"}
    torch_tensors = read_torch(tmp_path)
    assert set(torch_tensors) == {"words", "head", "other"}
    assert torch_tensors["words"].data_ptr() == torch_tensors["head"].data_ptr()


def test_what_only_happens_to_share_memory_is_written_twice(tmp_path: Path) -> None:
    shared = torch.arange(5.0)
    write(tmp_path, {"a": shared, "b": shared})
    assert set(read_safe(tmp_path)) == {"a", "b"}


def test_tied_names_with_different_values_are_both_written(tmp_path: Path) -> None:
    write(tmp_path, {"words": torch.zeros(5), "head": torch.ones(5)}, ties=[("words", "head")])
    assert set(read_safe(tmp_path)) == {"words", "head"}


def test_an_index_says_where_everything_is(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((10,), float(i)) for i in range(5)}
    names = write(tmp_path, tensors, max_shard_size=80)
    assert names == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)] + ["model.safetensors.index.json"]
    index = json.loads((tmp_path / names[-1]).read_text())
    assert index["metadata"]["total_size"] == 200
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="pt") as shard:
            assert name in shard.keys()  # noqa: SIM118


@pytest.mark.parametrize("size", ["", "GB", "-1", 0, "1TB", "1.5.2MB"])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(SaveError, match="is not a size"):
        weight_writers({}, max_shard_size=size)  # type: ignore[arg-type]


def test_the_file_is_the_one_which_the_library_of_the_format_writes(tmp_path: Path) -> None:
    tensors = {
        "half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
        "empty": torch.empty(0, 4),
        "number": torch.tensor(3, dtype=torch.int64),
        "flags": torch.tensor([True, False]),
    }
    write(tmp_path, tensors)
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_saving_needs_no_numpy(tmp_path: Path) -> None:
    """Which a plain installation does not bring; torch says that it would have liked it."""
    program = (
        "import sys, warnings; sys.modules['numpy'] = None; warnings.simplefilter('ignore'); import torch; "
        "from pathlib import Path; from registry.weights.write import weight_writers; "
        f"weight_writers({{'a': torch.ones(3)}})['model.safetensors'](Path({str(tmp_path)!r}, 'model.safetensors'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert read_safe(tmp_path)["a"].equal(torch.ones(3))


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
@pytest.mark.parametrize("format", WRITE_FORMATS)
def test_a_directory_whose_name_is_no_text_is_written_and_read(format: str, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    for name, writer in weight_writers({"a": torch.arange(3.0)}, format=format).items():
        writer(folder / name)
    paths = {path.name: path for path in folder.iterdir()}
    assert open_checkpoint(paths, None).tensors["a"].tolist() == [0, 1, 2]
    (path,) = paths.values()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptWeightsError):
        open_checkpoint(paths, None)
