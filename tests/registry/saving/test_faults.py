"""Saving when something goes wrong: what was there stays, what is there is whole."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertForPreTraining, BertModel
from plugins.bert.tokenization import BertTokenizer
from registry.errors import ConfigError, SaveError
from registry.files.atomic import content_writer, locked_new_directory
from registry.files.filenames import MANIFEST_NAME
from registry.saving.folder import write_file, write_folder
from registry.saving.manifest import read_manifest
from registry.weights.write import weight_writers

OLD = {"config.json": "old config", "vocab.txt": "old words", "model.safetensors": "old weights"}
NEW = {"config.json": "a newer config", "vocab.txt": "some newer words", "model.safetensors": "the newer weights"}


def listing(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def texts(folder: Path) -> dict[str, str]:
    return {name: path.read_text() for name, path in listing(folder).items() if name in OLD}


def save(folder: Path, files: dict[str, str]) -> Path:
    return write_folder(folder, {name: content_writer(text) for name, text in files.items()}, about={})


def agrees(folder: Path) -> bool:
    """Whether a reader sees one set that the manifest vouches for."""
    manifest = read_manifest(listing(folder))
    assert manifest is not None
    return not manifest.disagreements(listing(folder))


FULL = """
import json, resource, signal, sys
import torch
from registry.errors import SaveError
from registry.files.atomic import content_writer
from registry.saving.folder import write_folder
from registry.weights.write import weight_writers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, format, big = sys.argv[1:]
large = content_writer("x" * 200_000)
files = {"config.json": content_writer("{}"), "vocab.txt": content_writer("a")}
files |= weight_writers({"a": torch.zeros(50_000)}, format=format)
if big != "weights":
    files = {**files, big: large}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_folder(folder, files, about={})
except SaveError as error:
    print(json.dumps([error.errno, str(error)]))
"""


@pytest.mark.skipif(os.name == "nt", reason="no limits of that kind there")
@pytest.mark.parametrize(("format", "big"), [("safetensors", "weights"), ("torch", "weights"), ("torch", "vocab.txt")])
def test_a_full_disk_is_an_error_with_its_number_and_nothing_is_left(
    tmp_path: Path, format: str, big: str, warm: Any
) -> None:
    folder = save(tmp_path / "m", OLD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, printed = warm.run("-c", FULL, folder, format, big)
    assert code == 0, printed
    number, message = json.loads(printed)
    assert number == errno.EFBIG
    assert "intact" in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture
def config(sizes: dict[str, int]) -> BertConfig:
    return BertConfig(**sizes)


def fresh(cls: Any, config: BertConfig) -> Any:
    torch.manual_seed(3)
    model = cls(config)
    model.init_weights()
    return model


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_a_model_is_saved_into_the_folder_it_is_mapped_from(config: BertConfig, tmp_path: Path, format: Any) -> None:
    model = fresh(BertModel, config)
    folder = registry.save(model, tmp_path / "m", format=format)
    mapped = registry.load_model(folder, "base")
    assert registry.save(mapped, folder, format=format) == folder
    again = registry.load_model(folder, "base")
    for name, tensor in model.state_dict().items():
        assert torch.equal(mapped.state_dict()[name], tensor)
        assert torch.equal(again.state_dict()[name], tensor)


RANK = """
import sys
from registry.files.atomic import content_writer
from registry.saving.folder import write_folder
folder, rank = sys.argv[1:]
for turn in range(15):
    text = f"{rank}-{turn}" + "x" * (int(rank) + 1)
    files = {name: content_writer(f"{name} {text}") for name in ("config.json", "vocab.txt", "w.bin")}
    write_folder(folder, files, about={})
"""


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked there")
def test_of_two_processes_that_save_at_once_one_whole_set_remains(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, folder, str(rank)]) for rank in range(2)]
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    assert len({path.read_text().split(" ")[1] for path in folder.iterdir() if path.name != MANIFEST_NAME}) == 1
    assert agrees(folder)
    assert registry.verify(folder)["w.bin"] == "ok"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_modes_follow_the_umask_whatever_wrote_the_file(tmp_path: Path, format: Any) -> None:
    folder = write_folder(tmp_path / "m", weight_writers({"a": torch.ones(3)}, format=format), about={})
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_devices_folders_and_read_only_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="not an ordinary file"):
        write_file("/dev/null", content_writer("x"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SaveError, match="is a directory"):
        write_file(tmp_path / "folder", content_writer("x"))
    folder = save(tmp_path / "m", OLD)
    (folder / "model.safetensors").chmod(0o444)
    with pytest.raises(SaveError, match=r"model\.safetensors is read-only"):
        save(folder, NEW)
    assert texts(folder) == OLD
    assert agrees(folder)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)
    (folder / "vocab.txt").rename(tmp_path / "words")
    (folder / "vocab.txt").symlink_to(tmp_path / "words")
    save(folder, NEW)
    assert (folder / "vocab.txt").is_symlink()
    assert (tmp_path / "words").read_text() == NEW["vocab.txt"]


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_tied_transposed_frozen_and_wrapped_weights_come_back(config: BertConfig, tmp_path: Path, format: Any) -> None:
    model = fresh(BertForPreTraining, config)
    dense = model.bert.pooler.dense
    dense.weight = nn.Parameter(dense.weight.detach().t(), requires_grad=False)
    assert not dense.weight.is_contiguous()
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder = registry.save(nn.DataParallel(model), tmp_path / "m", format=format)
    again = registry.load_model(folder)
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_what_json_cannot_hold_is_refused_before_a_file_is_touched(config: BertConfig, tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)
    for value in (float("nan"), object()):
        model = BertModel(config.replace())
        model.config = BertConfig.from_dict({**config.to_dict(), "note": value})
        with pytest.raises(ConfigError, match="JSON"):
            registry.save(model, folder)
        assert texts(folder) == OLD
        assert len(list(folder.iterdir())) == 4


def test_what_a_killed_save_left_is_ignored_and_removed_by_the_next(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)
    inside, beside = folder / f".saving.{'0a' * 16}.tmp", tmp_path / f".m.{'0b' * 16}.tmp"
    for left in (inside, beside):
        left.mkdir()
        (left / "model.safetensors").write_text("half")
    mine = folder / ".mine.tmp"
    mine.write_text("no temporary of ours")
    assert registry.verify(folder)["model.safetensors"] == "ok"
    with locked_new_directory(folder / f".saving.{'0c' * 16}.tmp") as alive:
        save(folder, NEW)
        assert alive.is_dir(), "it is of a save that is still at work"
    assert not inside.exists()
    assert not beside.exists()
    assert mine.exists()


def test_where_locks_do_not_work_what_may_be_of_a_living_save_stays_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    folder = save(tmp_path / "m", OLD)
    left = folder / f".saving.{'0a' * 16}.tmp"
    left.mkdir()
    save(folder, NEW)
    assert left.is_dir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (long_ago, long_ago))
    save(folder, OLD)
    assert not left.exists()
    assert texts(folder) == OLD


def test_a_vocabulary_is_saved_under_the_name_of_a_file(vocab_file: Path, tmp_path: Path) -> None:
    tokenizer = BertTokenizer(vocab_file)
    tokenizer.save_vocabulary(tmp_path / "words.txt")
    assert (tmp_path / "words.txt").read_text() == vocab_file.read_text()
    assert BertTokenizer(tmp_path / "words.txt").get_vocab() == tokenizer.get_vocab()
