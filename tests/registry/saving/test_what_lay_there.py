"""What was saved is what loads, whatever lay in the directory, and whichever library wrote there before or after."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import registry
from registry.errors import AmbiguousWeightsError, RegistryWarning, SaveError
from registry.files.atomic import content_writer
from registry.files.filenames import JOURNAL_NAME, MANIFEST_NAME
from registry.saving.folder import write_folder
from registry.saving.verify import verify
from registry.zoo import BertConfig, BertModel, BertTokenizer

SIZES = {
    "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8,
    "max_position_embeddings": 8,
}  # fmt: skip
KEY = "embeddings.word_embeddings.weight"
SHARDED = 1000
"""Bytes of a shard: the model has several."""

Earlier = Callable[[Path], object]


def theirs(directory: Path, value: float, **options: object) -> None:
    """Save a model with transformers; its embeddings have one value."""
    model = transformers.BertModel(transformers.BertConfig(**SIZES, architectures=["BertModel"]))
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.fill_(value)
    model.save_pretrained(directory, **options)


def theirs_as_torch(directory: Path, value: float, *, sharded: bool = False) -> None:
    """What versions of transformers before 5 wrote with ``safe_serialization=False``."""
    theirs(directory, value)
    (directory / "model.safetensors").unlink()
    state = ours(value).state_dict()
    if not sharded:
        torch.save(state, directory / "pytorch_model.bin")
        return
    half = len(state) // 2
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for name, part in zip(names, (list(state)[:half], list(state)[half:]), strict=True):
        torch.save({key: state[key] for key in part}, directory / name)
    where = {key: names[position >= half] for position, key in enumerate(state)}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


def ours(value: float) -> BertModel:
    model = BertModel(BertConfig(**SIZES))  # type: ignore[arg-type]
    model.init_weights()
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.fill_(value)
    return model


def aged(directory: Path) -> Path:
    """Make all files a minute older, as what lies there already is."""
    for path in directory.iterdir():
        written = path.stat().st_mtime - 60
        os.utime(path, (written, written))
    return directory


def read(directory: Path) -> float:
    return float(BertModel.from_pretrained(directory).state_dict()[KEY].mean())


EARLIER: dict[str, Earlier] = {
    "a single file of transformers": lambda to: theirs(to, 1.0),
    "shards of transformers": lambda to: theirs(to, 1.0, max_shard_size=SHARDED),
    "a single file of torch": lambda to: theirs_as_torch(to, 1.0),
    "shards of torch": lambda to: theirs_as_torch(to, 1.0, sharded=True),
    "our single file": lambda to: registry.save(ours(1.0), to),
    "our shards": lambda to: registry.save(ours(1.0), to, max_shard_size=SHARDED),
    "our single file of torch": lambda to: registry.save(ours(1.0), to, format="torch"),
    "our shards of torch": lambda to: registry.save(ours(1.0), to, format="torch", max_shard_size=SHARDED),
}


@pytest.mark.parametrize("format", ["safetensors", "torch"])
@pytest.mark.parametrize("limit", [None, SHARDED])
@pytest.mark.parametrize("earlier", EARLIER.values(), ids=EARLIER)
def test_what_was_saved_is_what_loads(tmp_path: Path, earlier: Earlier, limit: int | None, format: str) -> None:
    earlier(tmp_path)
    assert read(tmp_path) == 1.0
    registry.save(ours(2.0), aged(tmp_path), format=format, max_shard_size=limit)  # type: ignore[arg-type]
    model = BertModel.from_pretrained(tmp_path)
    assert float(model.state_dict()[KEY].mean()) == 2.0
    assert model.load_report is not None
    assert model.load_report.ignored_files == ()
    assert set(verify(tmp_path).values()) == {"ok"}
    if format == "safetensors":
        assert float(transformers.BertModel.from_pretrained(tmp_path).state_dict()[KEY].mean()) == 2.0


@pytest.mark.parametrize("limit", [None, SHARDED])
@pytest.mark.filterwarnings("ignore:.*differ in size")
def test_shards_of_another_library_over_ours_are_read_or_it_is_ambiguous(tmp_path: Path, limit: int | None) -> None:
    registry.save(ours(1.0), tmp_path, max_shard_size=limit)
    theirs(aged(tmp_path), 2.0, max_shard_size=SHARDED)
    if limit is None:  # our single file is still there, and transformers itself would read it
        with pytest.raises(AmbiguousWeightsError, match=r"model\.safetensors.*model\.safetensors\.index\.json"):
            BertModel.from_pretrained(tmp_path)
    else:
        assert read(tmp_path) == 2.0


@pytest.mark.parametrize("limit", [None, SHARDED])
@pytest.mark.filterwarnings("ignore:.*differ in size")
def test_a_single_file_of_another_library_over_ours_is_read(tmp_path: Path, limit: int | None) -> None:
    registry.save(ours(1.0), tmp_path, max_shard_size=limit)
    theirs(aged(tmp_path), 2.0)
    assert read(tmp_path) == 2.0


def test_saving_again_settles_what_was_ambiguous(tmp_path: Path) -> None:
    registry.save(ours(1.0), tmp_path)
    theirs(aged(tmp_path), 2.0, max_shard_size=SHARDED)
    registry.save(ours(3.0), aged(tmp_path))
    assert read(tmp_path) == 3.0
    assert sorted(path.name for path in tmp_path.iterdir() if "index" in path.name or "-of-" in path.name) == []


def test_defaults_of_generation_of_another_model_are_removed_and_own_ones_written(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"num_beams": 7}')
    registry.save(ours(2.0), tmp_path)
    assert BertModel.from_pretrained(tmp_path).generation_config == {}
    model = ours(3.0)
    model.generation_config = {"num_beams": 2}
    registry.save(model, tmp_path)
    assert BertModel.from_pretrained(tmp_path).generation_config == {"num_beams": 2}


def test_defaults_of_another_model_do_not_count_when_the_save_over_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(ours(1.0), tmp_path)
    (tmp_path / "generation_config.json").write_text('{"num_beams": 7}')
    killed(tmp_path, monkeypatch, before=MANIFEST_NAME)
    assert (tmp_path / "generation_config.json").exists()
    with pytest.warns(RegistryWarning, match="interrupted"):
        assert BertModel.from_pretrained(tmp_path).generation_config == {}


OTHER_TOKENIZERS = ["tokenizer.model", "vocab.json", "merges.txt", "vocab.bin", "chat_template.jinja", "tokenizer.json"]


def test_files_of_another_tokenizer_are_removed_where_one_is_written_and_stay_where_none_is(
    tmp_path: Path, vocab_file: Path
) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    for name in OTHER_TOKENIZERS:
        (directory / name).write_text("{}")
    registry.save(ours(2.0), directory)
    assert {path.name for path in directory.iterdir()} > set(OTHER_TOKENIZERS)
    BertTokenizer(vocab_file).save_pretrained(directory)
    names = {path.name for path in directory.iterdir()}
    assert names == {"config.json", "model.safetensors", MANIFEST_NAME, "vocab.txt", "tokenizer_config.json"}


def test_modules_that_say_how_texts_are_embedded_stay_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    with pytest.warns(RegistryWarning, match=r"still holds modules\.json"):
        registry.save(ours(2.0), tmp_path)
    assert (tmp_path / "modules.json").read_text() == "[]"


FOREIGN = ["tf_model.h5", "flax_model.msgpack", "model.onnx", "model_ema.safetensors", "adapter_model.safetensors"]


def test_weights_of_other_formats_stay_and_are_named(tmp_path: Path) -> None:
    theirs(tmp_path, 1.0)
    for name in FOREIGN:
        (tmp_path / name).write_bytes(b"theirs")
    with pytest.warns(RegistryWarning) as caught:
        registry.save(ours(2.0), tmp_path)
    for name in FOREIGN:
        assert name in str(caught[0].message)
        assert (tmp_path / name).read_bytes() == b"theirs"
    model = BertModel.from_pretrained(tmp_path)
    assert float(model.state_dict()[KEY].mean()) == 2.0
    assert model.load_report is not None
    assert sorted(model.load_report.ignored_files) == sorted(FOREIGN)


def test_a_tensorflow_checkpoint_stays_and_is_named(tmp_path: Path) -> None:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"theirs")
    with pytest.warns(RegistryWarning, match=r"model\.ckpt\.index"):
        registry.save(ours(2.0), tmp_path)
    assert (tmp_path / "model.ckpt.index").read_bytes() == b"theirs"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model-00001-of-00002.bin"])
def test_stale_weights_that_may_not_be_removed_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    (tmp_path / name).chmod(0o444)
    with pytest.raises(SaveError, match="read-only"):
        registry.save(ours(2.0), tmp_path, format="torch")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(SaveError, match="is a directory"):
        registry.save(ours(2.0), tmp_path, format="torch")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_stale_link_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"cached")
    directory = tmp_path / "m"
    directory.mkdir()
    (directory / "model.safetensors").symlink_to(tmp_path / "blob")
    registry.save(ours(2.0), directory, format="torch")
    assert not (directory / "model.safetensors").is_symlink()
    assert (tmp_path / "blob").read_bytes() == b"cached"
    assert read(directory) == 2.0


def killed(directory: Path, monkeypatch: pytest.MonkeyPatch, *, before: str) -> None:
    """Save shards, and be killed before a file gets its name."""
    real: Callable[..., Path] = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == before:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            registry.save(ours(2.0), directory, max_shard_size=SHARDED)


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize("before", ["config.json", "model-00002-of-00006.safetensors", INDEX, MANIFEST_NAME])
@pytest.mark.parametrize("earlier", [theirs, lambda to, value: registry.save(ours(value), to)], ids=["theirs", "ours"])
def test_a_save_that_is_killed_when_files_get_their_names_counts_as_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, earlier: Callable[[Path, float], object]
) -> None:
    earlier(tmp_path, 1.0)
    killed(aged(tmp_path), monkeypatch, before=before)
    with pytest.warns(RegistryWarning, match=rf"interrupted.*{re.escape(before)}.* from the staging directory"):
        assert read(tmp_path) == 2.0
    registry.save(ours(3.0), tmp_path)
    assert read(tmp_path) == 3.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", MANIFEST_NAME]


def test_a_save_that_is_killed_before_its_journal_is_there_did_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(ours(1.0), tmp_path)
    killed(tmp_path, monkeypatch, before=JOURNAL_NAME)
    assert read(tmp_path) == 1.0
    assert set(verify(tmp_path).values()) == {"ok"}


def test_old_weights_that_a_killed_save_did_not_remove_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(ours(1.0), tmp_path)
    aged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            registry.save(ours(2.0), tmp_path, max_shard_size=SHARDED)
    assert (tmp_path / "model.safetensors").exists()
    with pytest.warns(RegistryWarning, match="interrupted"):
        assert read(tmp_path) == 2.0
    assert set(verify(tmp_path).values()) == {"ok"}


def interrupt(*_arguments: object, **_keywords: object) -> None:
    raise KeyboardInterrupt


def test_verify_says_which_weights_the_manifest_does_not_list(tmp_path: Path) -> None:
    write_folder(tmp_path, {"model.safetensors": content_writer("weights")}, about={})
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "ema.bin", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = verify(tmp_path)
    assert found["model.safetensors"] == "ok"
    assert found["notes.txt"] == "no digest known"
    assert {name for name, state in found.items() if state == f"not in {MANIFEST_NAME}"} == {
        "model.safetensors.index.json", "model-00001-of-00002.safetensors", "ema.bin",
    }  # fmt: skip
    (tmp_path / MANIFEST_NAME).unlink()
    assert set(verify(tmp_path).values()) == {"no digest known"}
