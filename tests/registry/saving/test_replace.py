"""Files of a directory that are replaced at one moment, and what an error in the middle says."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import registry
from registry.errors import IntegrityError, SaveError
from registry.files.atomic import content_writer
from registry.files.filenames import JOURNAL_NAME, MANIFEST_NAME
from registry.saving.folder import write_files, write_folder
from registry.sources.files import Files
from registry.sources.on_disk import files_at
from registry.zoo import BertTokenizer

OLD = {"config.json": "old config", "vocab.txt": "old words", "model.safetensors": "old weights"}
NEW = {name: text.replace("old", "new") for name, text in OLD.items()}


def save(directory: Path, files: dict[str, str]) -> Path:
    return write_folder(directory, {name: content_writer(text) for name, text in files.items()}, about={})


def texts(directory: Path) -> dict[str, str]:
    return {name: path.read_text() for name, path in files_at(directory).items() if name in OLD}


def full(monkeypatch: pytest.MonkeyPatch, *, at: str) -> None:
    """Let the disk refuse to give a file its name."""
    real: Callable[..., Path] = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("at", [JOURNAL_NAME, "config.json"])
def test_an_error_before_a_file_has_its_name_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder = save(tmp_path / "m", OLD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    full(monkeypatch, at=at)
    with pytest.raises(SaveError, match="before is intact") as caught:
        save(folder, NEW)
    assert caught.value.errno == errno.EIO
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_error_in_the_middle_says_which_files_are_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "m", OLD)
    with monkeypatch.context() as patch:
        full(patch, at="model.safetensors")
        with pytest.raises(SaveError) as caught:
            save(folder, NEW)
        assert "New are config.json, vocab.txt; still to be replaced are model.safetensors, registry.json" in str(
            caught.value
        )
        assert "intact" not in str(caught.value)
        assert caught.value.errno == errno.EIO
        with pytest.raises(SaveError, match="could not be finished"):
            save(folder, OLD)
    assert (folder / "model.safetensors").read_text() == "old weights"
    assert texts(folder) == NEW
    assert set(registry.verify(folder).values()) == {"ok"}
    save(folder, {"model.safetensors": "newest weights"})
    assert texts(folder) == {**NEW, "model.safetensors": "newest weights"}
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".", JOURNAL_NAME))]


def test_a_save_that_cannot_be_finished_any_more_is_replaced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "m", OLD)
    with monkeypatch.context() as patch:
        full(patch, at="model.safetensors")
        with pytest.raises(SaveError):
            save(folder, NEW)
    next(folder.glob(".saving.*/model.safetensors")).unlink()
    with pytest.raises(IntegrityError, match=r"model\.safetensors are missing"):
        registry.load_config(folder)
    with monkeypatch.context() as patch:
        full(patch, at=JOURNAL_NAME)
        with pytest.raises(SaveError):
            save(folder, NEW)
    with pytest.raises(IntegrityError):
        registry.load_config(folder)
    save(folder, NEW)
    assert texts(folder) == NEW


def test_files_that_are_read_before_and_after_a_save_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)
    files = Files.named(folder)
    config = files.of("config")["config.json"].read_text()
    with files.unchanged():
        assert files.of("weights")["model.safetensors"].read_text().startswith(config[:3])
    save(folder, NEW)
    with pytest.raises(IntegrityError, match=f"{folder}.* was saved over while it was read"), files.unchanged():
        files.of("vocab")["vocab.txt"].read_text()
    with pytest.raises(IntegrityError, match="was saved over"), files.unchanged():
        raise FileNotFoundError
    with pytest.raises(FileNotFoundError), Files.named(folder).unchanged():
        raise FileNotFoundError


def test_a_tokenizer_replaces_its_files_at_one_moment_and_the_manifest_lists_them(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)
    words = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat"])}
    paths = BertTokenizer(words).save_pretrained(folder)
    assert sorted(paths) == [str(folder / "tokenizer_config.json"), str(folder / "vocab.txt")]
    assert registry.verify(folder) == dict.fromkeys(sorted({*OLD, "tokenizer_config.json"}), "ok")
    assert (folder / "model.safetensors").read_text() == "old weights"


def test_files_of_a_directory_without_manifest_get_none(tmp_path: Path) -> None:
    assert write_files(tmp_path / "a" / "b", {"x": content_writer("1")}) == [tmp_path / "a" / "b" / "x"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x"]


def test_two_threads_that_save_at_once_leave_one_set(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", OLD)

    def repeat(name: str) -> None:
        for _ in range(10):
            save(folder, {file: f"{name} {file}" for file in OLD})

    threads = [threading.Thread(target=repeat, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text.split()[0] for text in texts(folder).values()}) == 1
    assert set(registry.verify(folder).values()) == {"ok"}
    assert sorted(path.name for path in folder.iterdir()) == sorted({*OLD, MANIFEST_NAME})
