"""Which of several weight files is read."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from attrs import evolve
from safetensors.torch import save_file

from registry import hookimpl, prefer, register
from registry.discovery import architecture
from registry.errors import (
    AmbiguousWeightsError,
    CorruptWeightsError,
    MissingFileError,
    PluginIncompatibleError,
    RegistryError,
    RegistryWarning,
)
from registry.records import CORE_FORMATS, ConfigSpec, WeightLoaderSpec
from registry.weights.checkpoint import FORMATS, Checkpoint, find_weights, open_checkpoint

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
    assert [spec.key for spec in FORMATS] == [("*", format) for format in CORE_FORMATS]


# --- An architecture's own record for a format of the core ------------------------------------------------------------


def detect_sealed(paths: Mapping[str, Path]) -> bool:
    """Safetensors behind a seal of six bytes, under the published name or one of their own."""
    return any(path.read_bytes()[:6] == b"sealed" for path in paths.values())


def load_sealed(paths: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    (sealed,) = (path for path in paths.values() if path.read_bytes()[:6] == b"sealed")
    return safetensors.torch.load(sealed.read_bytes()[6:])


SEALED = WeightLoaderSpec(
    architecture="toy",
    format="safetensors",
    detect=f"{__name__}:detect_sealed",
    loader=f"{__name__}:load_sealed",
    filenames=("model.sealed",),
)


class Toy:
    """The plugin that declares the architecture."""

    @hookimpl
    def registry_configs(self) -> list[ConfigSpec]:
        return [ConfigSpec(architecture="toy", cls="plugins.bert.config:BertConfig", model_types=("toy",))]

    @hookimpl
    def registry_weight_loaders(self) -> list[WeightLoaderSpec]:
        return [SEALED]


class ThirdParty:
    """A plugin with a record for the architecture of another one."""

    @hookimpl
    def registry_weight_loaders(self) -> list[WeightLoaderSpec]:
        return [evolve(SEALED, loader=f"{__name__}:load_text")]


@pytest.mark.parametrize("name", ["model.safetensors", "model.sealed"])
def test_an_architectures_own_record_goes_before_the_core(tmp_path: Path, name: str) -> None:
    register(Toy(), name="toy")
    register(ThirdParty(), name="third-party")
    (tmp_path / name).write_bytes(b"sealed" + safetensors.torch.save({"a": torch.ones(2)}))
    (tmp_path / "config.json").write_text("{}")
    paths = {name: tmp_path / name, "config.json": tmp_path / "config.json"}
    checkpoint = open_checkpoint(paths, architecture("toy"))
    assert (checkpoint.format, checkpoint.files, checkpoint.tensors["a"].tolist()) == ("safetensors", (name,), [1, 1])
    assert find_weights(paths, architecture("toy")).headers()["a"].shape == (2,)
    with pytest.raises(RegistryError):
        open_checkpoint(paths, architecture("bert"))
    prefer("third-party")
    assert find_weights(paths, architecture("toy")).spec.loader.name == "load_text"


def test_what_the_own_record_does_not_detect_is_read_by_the_core(tmp_path: Path) -> None:
    register(Toy(), name="toy")
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / SAFE)
    found = find_weights({SAFE: tmp_path / SAFE}, architecture("toy"))
    assert (found.spec, found.files) == (next(iter(FORMATS)), (SAFE,))


@pytest.mark.parametrize("format", CORE_FORMATS)
def test_a_record_that_would_never_be_used_is_the_error_of_its_plugin(format: str) -> None:
    class Wrong:
        @hookimpl
        def registry_weight_loaders(self) -> list[WeightLoaderSpec]:
            return [evolve(SEALED, architecture="*", format=format)]

    with pytest.raises(
        PluginIncompatibleError, match=f"declares '{format}' for all architectures, a format that the core reads"
    ):
        register(Wrong(), name="wrong")


RENAMED: dict[str, tuple[bytes, str]] = {
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(600), r"is an HDF5 file\.[^.]*Keras writes such files\. .*from_tf=True"),
    "llama.cpp": (b"GGUF\x03\0\0\0" + bytes(600), r"is a GGUF file\.[^.]*llama\.cpp.*gguf_file"),
    "an error page": (b"<!DOCTYPE html><html></html>", r"is an HTML page\.[^.]*download it again"),
    "nothing": (b"", r"is an empty file\.[^.]*download it again"),
}


@pytest.mark.parametrize("name", [SAFE, TORCH])
@pytest.mark.parametrize("kind", RENAMED)
def test_what_was_renamed_is_called_what_it_is(tmp_path: Path, name: str, kind: str) -> None:
    content, words = RENAMED[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=f"(?s)by its name, but {words}"):
        open_checkpoint({name: tmp_path / name, "config.json": tmp_path / name}, None)


def test_weights_under_the_name_of_the_other_format_are_told_their_own(tmp_path: Path) -> None:
    for name, write in ((TORCH, save_file), (SAFE, torch.save)):
        write({"a": torch.ones(2)}, tmp_path / name)  # type: ignore[operator]
        other = SAFE if name == TORCH else TORCH
        with pytest.raises(CorruptWeightsError, match=f"(?s)by its name, but is .*ame it {other}"):
            open_checkpoint({name: tmp_path / name, "config.json": tmp_path / name}, None)


# --- A single file and an index of one format -------------------------------------------------------------------------

INDEXED = {
    SAFE: ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    TORCH: ("pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
}
SINGLE_AND_INDEX = pytest.mark.parametrize("single", [SAFE, TORCH])


def index(path: Path, single: str, age: float, *, without: int = 2) -> tuple[str, ...]:
    """Add shards with an index, written at ``age``; each holds a tensor with its own name."""
    entry, *shards = INDEXED[single]
    for number, shard in enumerate(shards):
        if number != without:
            (save_file if single == SAFE else torch.save)({shard: torch.ones(2)}, path / shard)  # type: ignore[operator]
    (path / entry).write_text(json.dumps({"weight_map": {shard: shard for shard in shards}}))
    for name in (entry, *shards):
        if (path / name).exists():
            os.utime(path / name, (1e9 + age, 1e9 + age))
    return INDEXED[single]


@SINGLE_AND_INDEX
def test_without_a_manifest_the_single_file_is_read_and_the_index_is_told(tmp_path: Path, single: str) -> None:
    folder(tmp_path, single)
    indexed = index(tmp_path, single, 5)
    checkpoint = opened({file.name: file for file in tmp_path.iterdir()})
    assert (checkpoint.files, checkpoint.ignored_files) == ((single,), indexed)


@SINGLE_AND_INDEX
@pytest.mark.parametrize("indexed_age", [-5, 2])
def test_the_set_that_the_manifest_lists_is_read(tmp_path: Path, single: str, indexed_age: float) -> None:
    folder(tmp_path, single)
    indexed = index(tmp_path, single, indexed_age)
    checkpoint = open_checkpoint(with_manifest(tmp_path, *indexed, time=5), None)
    assert (checkpoint.files, set(checkpoint.tensors)) == (indexed, set(indexed[1:]))
    assert checkpoint.ignored_files == (single,)
    checkpoint = opened(with_manifest(tmp_path, single, time=5))
    assert (checkpoint.files, checkpoint.ignored_files) == ((single,), indexed)


@SINGLE_AND_INDEX
def test_a_set_that_came_after_the_manifest_makes_it_ambiguous(tmp_path: Path, single: str) -> None:
    folder(tmp_path, single)
    indexed = index(tmp_path, single, 9)
    with pytest.raises(AmbiguousWeightsError, match="newer") as caught:
        open_checkpoint(with_manifest(tmp_path, single, time=5), None)
    assert single in str(caught.value)
    assert indexed[0] in str(caught.value)
    os.utime(tmp_path / single, (1e9 + 9, 1e9 + 9))
    with pytest.raises(AmbiguousWeightsError, match="newer"):
        open_checkpoint(with_manifest(tmp_path, *indexed, time=5), None)


@SINGLE_AND_INDEX
def test_a_single_file_is_read_that_replaced_the_shards_of_the_manifest(tmp_path: Path, single: str) -> None:
    """As transformers saves over a directory of ours: it removes our shards, and leaves the index."""
    indexed = index(tmp_path, single, 0)
    with_manifest(tmp_path, *indexed, time=5)
    for shard in indexed[1:]:
        (tmp_path / shard).unlink()
    folder(tmp_path, single)
    os.utime(tmp_path / single, (1e9 + 9, 1e9 + 9))
    checkpoint = opened({file.name: file for file in tmp_path.iterdir()})
    assert (checkpoint.files, checkpoint.ignored_files) == ((single,), indexed[:1])


@SINGLE_AND_INDEX
def test_an_old_single_file_does_not_stand_in_for_lost_shards(tmp_path: Path, single: str) -> None:
    indexed = index(tmp_path, single, 0)
    folder(tmp_path, single)
    paths = with_manifest(tmp_path, *indexed, time=5)
    paths.pop(indexed[1]).unlink()
    with pytest.raises(AmbiguousWeightsError) as caught:
        open_checkpoint(paths, None)
    assert single in str(caught.value)
    assert indexed[0] in str(caught.value)


def test_shards_that_no_index_names_are_told(tmp_path: Path) -> None:
    folder(tmp_path, SAFE)
    save_file({"a": torch.ones(1)}, tmp_path / "model-00007-of-00009.safetensors")
    checkpoint = opened({file.name: file for file in tmp_path.iterdir()})
    assert checkpoint.ignored_files == ("model-00007-of-00009.safetensors",)


@pytest.mark.parametrize(
    "name",
    ["model_ema.safetensors", "model.fp16.safetensors", "ema.bin", "tf_model.h5", "flax_model.msgpack", "model.onnx",
     "m-q4_0.gguf", "last.ckpt", "adapter_model.bin", "model_ema.pt"],
)  # fmt: skip
def test_every_other_file_of_weights_is_told(tmp_path: Path, name: str) -> None:
    folder(tmp_path, SAFE)
    (tmp_path / name).write_bytes(b"whatever")
    checkpoint = opened({file.name: file for file in tmp_path.iterdir()})
    assert (checkpoint.files, checkpoint.ignored_files) == ((SAFE,), (name,))


@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "optimizer.bin", "scheduler.pt", "training_args.bin", "rng_state_0.pth", "vocab.bin",
     "training.pt"],
)  # fmt: skip
def test_the_state_of_a_trainer_is_no_file_of_weights(tmp_path: Path, name: str) -> None:
    folder(tmp_path, SAFE)
    (tmp_path / name).write_bytes(b"whatever")
    assert opened({file.name: file for file in tmp_path.iterdir()}).ignored_files == ()


def test_an_adapter_next_to_its_base_model_is_warned_of(tmp_path: Path) -> None:
    folder(tmp_path, SAFE)
    (tmp_path / "adapter_config.json").write_text("{}")
    save_file({"lora": torch.ones(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.warns(RegistryWarning, match="adapter is not applied"):
        checkpoint = opened({file.name: file for file in tmp_path.iterdir()})
    assert checkpoint.ignored_files == ("adapter_model.safetensors",)


# --- No weights at all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("tf_model.h5", "Keras", "from_tf=True"),
        ("flax_model.msgpack", "Flax", "from_flax=True"),
        ("model.onnx", "ONNX", "from which it was made"),
        ("bert-q4_0.gguf", "GGUF file of llama.cpp", "gguf_file"),
        ("rust_model.ot", "Rust", "from which it was made"),
        ("openvino_model.xml", "OpenVINO", "from which it was made"),
        ("model.fp16.safetensors", "variant", "model.safetensors"),
        ("last.ckpt", "training program", "state_dict="),
        ("__0_0.distcp", "torch.distributed", "dcp_to_torch"),
        ("pytorch_model_fsdp.bin", "torch.distributed", "dcp_to_torch"),
        ("zero_to_fp32.py", "DeepSpeed", "zero_to_fp32.py"),
        ("adapter_config.json", "adapter of PEFT", "merge_and_unload"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("formats", [None, ("tensorflow", "numpy")])
def test_weights_of_another_library_are_called_that(
    tmp_path: Path, name: str, what: str, remedy: str, alone: bool, formats: tuple[str, ...] | None
) -> None:
    for other in (name, *(() if alone else ("config.json", "vocab.txt"))):
        (tmp_path / other).write_text("{}")
    with pytest.raises(MissingFileError) as caught:
        open_checkpoint({file.name: file for file in tmp_path.iterdir()}, None, formats)
    assert what in caught.value.message
    assert name in caught.value.message
    assert remedy in (caught.value.hint or "")


def test_no_file_at_all_is_no_list_of_none() -> None:
    with pytest.raises(MissingFileError) as caught:
        open_checkpoint({}, None)
    assert "No weights that can be read are there." in str(caught.value)


def test_shards_without_their_index_say_what_is_missing(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingFileError, match="their index is not") as caught:
        open_checkpoint({file.name: file for file in tmp_path.iterdir()}, None)
    assert "model.safetensors.index.json" in (caught.value.hint or "")
