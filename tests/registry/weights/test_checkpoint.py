"""Which of several weight files is read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from registry import hookimpl, register
from registry.discovery import architecture
from registry.errors import AmbiguousWeightsError, CorruptWeightsError, MissingFileError
from registry.records import WeightLoaderSpec
from registry.weights.checkpoint import FORMATS, Checkpoint, open_checkpoint

SAFE, TORCH, MANIFEST = "model.safetensors", "pytorch_model.bin", "registry.json"


def folder(path: Path, *names: str) -> dict[str, Path]:
    """A folder with those weight files, in each of which the tensor's name is that of the file; the oldest is first."""
    for age, name in enumerate(names):
        tensors = {name: torch.ones(2)}
        if name == SAFE:
            save_file(tensors, path / name)
        elif name == TORCH:
            torch.save(tensors, path / name)
        else:
            (path / name).write_text("{}")
        os.utime(path / name, (1e9 + age, 1e9 + age))
    return {file.name: file for file in path.iterdir()}


def with_manifest(path: Path, *listed: str, time: float) -> dict[str, Path]:
    """Add a manifest that lists files with their present sizes, written at ``time``."""
    files = {name: {"size": (path / name).stat().st_size, "sha256": "0" * 64} for name in listed}
    (path / MANIFEST).write_text(json.dumps({"files": files}))
    os.utime(path / MANIFEST, (1e9 + time, 1e9 + time))
    return {file.name: file for file in path.iterdir()}


def opened(paths: Mapping[str, Path]) -> Checkpoint:
    checkpoint = open_checkpoint(paths, None)
    assert checkpoint.files == tuple(checkpoint.tensors)
    return checkpoint


@pytest.mark.parametrize("name", [SAFE, TORCH])
def test_the_only_weights_are_read(tmp_path: Path, name: str) -> None:
    checkpoint = opened(folder(tmp_path, "config.json", name))
    assert (checkpoint.files, checkpoint.ignored_files, checkpoint.names) == ((name,), (), None)


def test_without_a_manifest_safetensors_are_read_and_the_other_file_is_told(tmp_path: Path) -> None:
    checkpoint = opened(folder(tmp_path, SAFE, TORCH))
    assert (checkpoint.format, checkpoint.files, checkpoint.ignored_files) == ("safetensors", (SAFE,), (TORCH,))


@pytest.mark.parametrize(("listed", "other"), [(SAFE, TORCH), (TORCH, SAFE)])
def test_the_file_that_the_manifest_lists_is_read(tmp_path: Path, listed: str, other: str) -> None:
    folder(tmp_path, other, listed)
    checkpoint = opened(with_manifest(tmp_path, listed, time=5))
    assert (checkpoint.files, checkpoint.ignored_files) == ((listed,), (other,))


@pytest.mark.parametrize(("listed", "other"), [(SAFE, TORCH), (TORCH, SAFE)])
def test_a_file_that_came_after_the_manifest_makes_it_ambiguous(tmp_path: Path, listed: str, other: str) -> None:
    folder(tmp_path, listed, other)
    with pytest.raises(AmbiguousWeightsError, match="newer") as caught:
        open_checkpoint(with_manifest(tmp_path, listed, time=0.5), None)
    assert SAFE in str(caught.value)
    assert TORCH in str(caught.value)


def test_a_listed_file_of_another_size_makes_it_ambiguous(tmp_path: Path) -> None:
    folder(tmp_path, SAFE, TORCH)
    paths = with_manifest(tmp_path, SAFE, time=5)
    save_file({SAFE: torch.ones(20)}, tmp_path / SAFE)
    with pytest.raises(AmbiguousWeightsError, match="size"):
        open_checkpoint(paths, None)


def test_a_manifest_that_lists_no_weights_leaves_the_order_as_it_is(tmp_path: Path) -> None:
    folder(tmp_path, SAFE, TORCH, "config.json")
    assert opened(with_manifest(tmp_path, "config.json", time=0.5)).files == (SAFE,)


def test_a_folder_without_weights_is_told_with_what_was_looked_for(tmp_path: Path) -> None:
    for names in (("config.json",), ("config.json", "vocab.txt"), ()):
        with pytest.raises(MissingFileError, match=r"pytorch_model\.bin"):
            open_checkpoint({name: tmp_path / name for name in names}, None)


@pytest.mark.parametrize("name", [SAFE, TORCH])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x80\x04}.", "pickle"),
        (b"hello, world", "an unknown file"),
    ],
)
def test_another_content_is_named_even_where_another_file_could_be_read(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    paths = folder(tmp_path, SAFE, TORCH)
    paths[name].write_bytes(content)
    for chosen in (paths, {name: paths[name]}, {"weights.dat": paths[name]}):
        with pytest.raises(CorruptWeightsError, match=words):
            open_checkpoint(chosen, None)


def test_weights_cut_off_at_any_byte_are_refused(tmp_path: Path) -> None:
    for name in (SAFE, TORCH):
        path = folder(tmp_path, name)[name]
        whole = path.read_bytes()
        for length in [*range(200), *range(200, len(whole), 41)]:
            if length < len(whole):
                path.write_bytes(whole[:length])
                with pytest.raises(CorruptWeightsError):
                    open_checkpoint({name: path, "config.json": path}, None)


def detect_text(paths: Mapping[str, Path]) -> bool:
    return "weights.txt" in paths


def load_text(paths: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    return {"weights.txt": torch.tensor([float(word) for word in paths["weights.txt"].read_text().split()])}


def test_a_plugin_reads_what_the_core_cannot(tmp_path: Path) -> None:
    spec = WeightLoaderSpec(
        format="text", detect=f"{__name__}:detect_text", loader=f"{__name__}:load_text", architecture="toy"
    )

    class Plugin:
        @hookimpl
        def registry_weight_loaders(self) -> list[WeightLoaderSpec]:
            return [spec]

    register(Plugin(), name="text")
    (tmp_path / "weights.txt").write_text("1 2.5")
    paths = {"weights.txt": tmp_path / "weights.txt"}
    checkpoint = open_checkpoint(paths, architecture("toy"))
    assert (checkpoint.format, checkpoint.tensors["weights.txt"].tolist()) == ("text", [1.0, 2.5])
    with pytest.raises(CorruptWeightsError):
        open_checkpoint(paths, architecture("other"))


def test_the_formats_of_the_core_are_records_as_those_of_plugins_are() -> None:
    assert [spec.key for spec in FORMATS] == [
        ("*", format) for format in ("safetensors", "torch", "tensorflow", "numpy")
    ]
