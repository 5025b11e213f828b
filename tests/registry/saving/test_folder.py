import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from registry.errors import ConfigError, SaveError
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import MANIFEST_NAME
from registry.saving.folder import write_file, write_folder
from registry.saving.manifest import read_manifest

OLD = {"config.json": "old config", "model.safetensors": "old weights"}
NEW = {"config.json": "new config", "model.safetensors": "new weights"}


def writers(texts: dict[str, str]) -> dict[str, Writer]:
    return {name: content_writer(text) for name, text in texts.items()}


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != MANIFEST_NAME}


def listing(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def failing(_path: Path) -> None:
    raise OSError(28, "No space left on device")


def test_a_new_folder_holds_the_files_and_a_manifest_of_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a" / "model", writers(NEW), about={"architecture": "bert"})
    assert texts(folder) == NEW
    manifest = read_manifest(listing(folder))
    assert manifest is not None
    assert manifest.about["architecture"] == "bert"
    assert manifest.files["config.json"].size == len("new config")
    assert manifest.files["config.json"].sha256 == hashlib.sha256(b"new config").hexdigest()
    assert manifest.disagreements(listing(folder)) == []


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="No space left") as caught:
        write_folder(tmp_path / "model", {**writers(OLD), "vocab.txt": failing}, about={})
    assert caught.value.errno == 28
    assert list(tmp_path.iterdir()) == []


def test_a_failure_over_an_old_folder_leaves_it_as_it_was(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", writers(OLD), about={})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SaveError):
        write_folder(folder, {"config.json": content_writer("new"), "model.safetensors": failing}, about={})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_over_an_old_folder_keeps_what_is_not_ours_and_drops_older_weights(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", writers(OLD), about={})
    (folder / "notes.txt").write_text("mine")
    (folder / "other.bin").write_text("mine too")
    write_folder(folder, writers({"config.json": "new config", "pytorch_model.bin": "new weights"}), about={})
    assert texts(folder) == {
        "config.json": "new config", "pytorch_model.bin": "new weights", "notes.txt": "mine", "other.bin": "mine too",
    }  # fmt: skip
    manifest = read_manifest(listing(folder))
    assert manifest is not None
    assert set(manifest.files) == {"config.json", "pytorch_model.bin"}
    assert manifest.disagreements(listing(folder)) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask_and_replaced_files_keep_theirs(tmp_path: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        folder = write_folder(tmp_path / "model", writers(OLD), about={})
        assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o666 & ~umask
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
        (folder / "config.json").chmod(0o640)
        write_folder(folder, writers(NEW), about={})
        assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o640
    finally:
        os.umask(previous)


def test_a_file_or_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SaveError, match="is a file"):
        write_folder(tmp_path / "file", writers(NEW), about={})
    (tmp_path / "model" / "config.json").mkdir(parents=True)
    with pytest.raises(SaveError, match="is a directory"):
        write_folder(tmp_path / "model", writers(NEW), about={})


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_file(tmp_path / "link", content_writer("new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "new"


def test_a_manifest_cannot_make_saving_remove_other_files(tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_text("precious")
    folder = write_folder(tmp_path / "model", writers(OLD), about={})
    entry = {"size": 8, "sha256": "0" * 64}
    (folder / MANIFEST_NAME).write_text(json.dumps({"files": {"../outside.bin": entry, "config.json": entry}}))
    write_folder(folder, writers({"model.safetensors": "w"}), about={})
    assert outside.read_text() == "precious"
    assert (folder / "config.json").exists()


@pytest.mark.parametrize("text", ["{}", '{"files": 3}', '{"files": {"a": {}}}', "[]", "no"])
def test_a_damaged_manifest_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(ConfigError, match=MANIFEST_NAME):
        read_manifest(listing(tmp_path))
