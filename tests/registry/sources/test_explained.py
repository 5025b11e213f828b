"""What is in a source that holds no model which can be read, told from the names that are known."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import registry
from registry.errors import MissingFileError
from registry.sources.files import Files
from registry.zoo import BertConfig, BertModel

CONFIG = {
    "model_type": "bert", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
    "intermediate_size": 4, "max_position_embeddings": 4,
}  # fmt: skip
ADAPTER = json.dumps({"base_model_name_or_path": "./gone", "peft_type": "LORA"}).encode()
MODEL = {"config.json": json.dumps(CONFIG).encode()}


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, bytes]:
    model = BertModel(BertConfig(**{key: value for key, value in CONFIG.items() if key != "model_type"}))  # type: ignore[arg-type]
    model.init_weights()
    directory = registry.save(model, tmp_path / "saved")
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def hub(server, loopback: None, monkeypatch: pytest.MonkeyPatch):
    """A server that stands for the hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def written(directory: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def refused(name: str | Path) -> str:
    """The message of loading something, which is the same through each door."""
    messages = set()
    for load in (registry.load, registry.load_model, BertModel.from_pretrained):
        with pytest.raises(MissingFileError) as caught:
            load(name)
        messages.add(str(caught.value))
    (message,) = messages
    assert "its 0 files" not in message
    assert "there are none" not in message
    return message


FOREIGN = {
    "only Keras": (MODEL | {"tf_model.h5": b"\x89HDF"}, ["tf_model.h5", "Keras", "from_tf=True"]),
    "only Flax": (MODEL | {"flax_model.msgpack": b"\x81"}, ["flax_model.msgpack", "Flax"]),
    "only ONNX, in a directory": (MODEL | {"onnx/model.onnx": b"\x08", "onnx/config.json": b"{}"}, ["onnx/model.onnx"]),
    "only GGUF": ({"m-q4.gguf": b"GGUF", "README.md": b""}, ["m-q4.gguf", "llama.cpp"]),
    "an adapter without its base": ({"adapter_config.json": ADAPTER, "adapter_model.bin": b""}, ["LORA", "'./gone'"]),
    "a pipeline": ({"model_index.json": b"{}", "text_encoder/config.json": b"{}"}, ["text_encoder"]),
    "Lightning": (MODEL | {"last.ckpt": b"PK"}, ["last.ckpt", "state_dict="]),
    "weights under another name": (MODEL | {"weights.safetensors": b"x"}, ["weights.safetensors may", "name it m"]),
    "a training program": (MODEL | {"model_best.pth.tar": b"PK"}, ["model_best.pth.tar", "name it pytorch_model.bin"]),
    "only an optimizer": (MODEL | {"optimizer.pt": b"PK"}, ["optimizer.pt is the state", "without weights"]),
    "DeepSpeed": (MODEL | {"optimizer.pt": b"", "zero_to_fp32.py": b""}, [" zero_to_fp32.py is a", "\n`python zero"]),
    "half a download": (MODEL | {"model.safetensors.incomplete": b""}, ["did not end"]),
    "an archive": (MODEL | {"model.zip": b"PK"}, ["model.zip is an archive"]),
    "a compiled model": (MODEL | {"model.pt2": b"PK", "weights.npz": b"PK"}, ["compiled for", "MLX"]),
    "no model": ({".gitattributes": b""}, [".gitattributes"]),
}  # fmt: skip


@pytest.mark.parametrize(("files", "words"), FOREIGN.values(), ids=FOREIGN)
def test_a_directory_of_another_library_is_called_that(
    tmp_path: Path, files: dict[str, bytes], words: list[str]
) -> None:
    message = refused(written(tmp_path / "m", files))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(("files", "words"), FOREIGN.values(), ids=FOREIGN)
def test_a_repository_of_another_library_is_called_that(hub, files: dict[str, bytes], words: list[str]) -> None:
    hub.hub("org/m", files)
    message = refused("org/m")
    assert [word for word in words if word not in message] == []


def test_a_file_next_to_its_configuration_names_the_directory(tmp_path: Path, saved: dict[str, bytes]) -> None:
    directory = written(tmp_path / "m", saved)
    assert f"give the directory, {str(directory)!r}" in refused(directory / "model.safetensors")


def test_a_directory_without_files_is_not_said_to_have_some(tmp_path: Path) -> None:
    assert "is there." in refused(tmp_path)


def nested(saved: Mapping[str, bytes], **more: bytes) -> dict[str, bytes]:
    """The older layout of sentence-transformers."""
    files = {"modules.json": b"[]", "1_Pooling/config.json": b"{}"}
    return files | {f"0_Transformer/{name}": content for name, content in saved.items()} | more


ROOT = {"config.json": json.dumps({"__version__": "0.3.8"}).encode()}


@pytest.mark.parametrize("root", [{}, ROOT], ids=["without a configuration", "with a version alone"])
def test_the_older_layout_of_sentence_transformers_names_the_directory(
    tmp_path: Path, saved: dict[str, bytes], root: dict[str, bytes]
) -> None:
    directory = written(tmp_path / "m", nested(saved) | root)
    message = refused(directory)
    assert "sentence-transformers" in message
    assert repr(str(directory / "0_Transformer")) in message
    assert type(registry.load_model(directory / "0_Transformer")) is BertModel


def test_of_a_repository_the_url_of_the_directory_is_named_and_loads(hub, saved: dict[str, bytes]) -> None:
    hub.hub("org/m", nested(saved))
    message = refused("org/m")
    url = "https://huggingface.co/org/m/resolve/main/0_Transformer"
    assert repr(url) in message
    assert type(registry.load_model(url)) is BertModel


def test_the_directories_of_a_trainer_are_named(tmp_path: Path, saved: dict[str, bytes]) -> None:
    files = {f"checkpoint-500/{name}": content for name, content in saved.items()}
    message = refused(written(tmp_path, MODEL | files))
    assert "checkpoint-500" in message


def test_the_explanation_needs_nothing_that_cannot_be_fetched(hub) -> None:
    hub.hub("org/m", FOREIGN["an adapter without its base"][0])
    assert Files.named("org/m").of("config") == {}
    offline = Files.named("org/m", offline=True)
    assert "an adapter of PEFT for a base model" in offline.explained().found
    assert Files.named("org/other", offline=True).explained().names == ()
