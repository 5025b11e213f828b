"""The journal of a save: what it lists is what is there, wherever it lies."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from registry.errors import ConfigError, IntegrityError
from registry.files import journal as module
from registry.files.atomic import locked
from registry.files.filenames import JOURNAL_NAME
from registry.files.journal import Journal, StagedFile, read_journal, settled, staging_name
from registry.sources.on_disk import files_at

OLD = {"config.json": "old config", "model.safetensors": "old weights", "notes.txt": "mine"}
NEW = {"config.json": "new config", "model.safetensors": "new weights"}


def begun(directory: Path, *, removed: tuple[str, ...] = ()) -> Journal:
    """A directory with old files, and the journal of a save of new ones that has given no names yet."""
    staging = directory / staging_name()
    staging.mkdir(parents=True)
    for name, text in OLD.items():
        (directory / name).write_text(text)
    for name, text in NEW.items():
        (staging / name).write_text(text)
    files = {name: StagedFile.of(staging / name) for name in NEW}
    made = Journal(directory=directory, staging=staging.name, files=files, removed=removed)
    made.begin()
    return made


def texts(directory: Path) -> dict[str, str]:
    return {name: path.read_text() for name, path in files_at(directory).items() if name != JOURNAL_NAME}


def test_what_a_journal_lists_is_read_before_and_after_files_get_their_names(tmp_path: Path) -> None:
    made = begun(tmp_path)
    assert (tmp_path / "config.json").read_text() == "old config"
    assert texts(tmp_path) == {**OLD, **NEW}
    made.staged("config.json").replace(tmp_path / "config.json")
    assert texts(tmp_path) == {**OLD, **NEW}
    made.finish()
    assert texts(tmp_path) == {**OLD, **NEW}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OLD)
    made.finish()  # as another process may, which began before


def test_what_a_journal_removes_is_not_read(tmp_path: Path) -> None:
    made = begun(tmp_path, removed=("pytorch_model.bin",))
    (tmp_path / "pytorch_model.bin").write_text("stale")
    assert "pytorch_model.bin" not in files_at(tmp_path)
    made.finish()
    assert not (tmp_path / "pytorch_model.bin").exists()


@pytest.mark.parametrize("text", ["old weights", "old weightz", "other"])
def test_a_staged_file_that_is_lost_is_named_whatever_the_sizes(tmp_path: Path, text: str) -> None:
    made = begun(tmp_path)
    made.staged("model.safetensors").unlink()
    (tmp_path / "model.safetensors").write_text(text)
    assert made.lost() == ["model.safetensors"]
    with pytest.raises(IntegrityError, match=rf"{tmp_path}.*model\.safetensors are missing"):
        files_at(tmp_path)


def test_a_copy_of_a_file_counts_as_the_file(tmp_path: Path) -> None:
    made = begun(tmp_path)
    made.staged("model.safetensors").unlink()
    (tmp_path / "model.safetensors").write_text("new weights")
    os.utime(tmp_path / "model.safetensors", (1, 1))
    assert texts(tmp_path) == {**OLD, **NEW}


def test_a_staged_file_that_was_cut_off_is_lost(tmp_path: Path) -> None:
    made = begun(tmp_path)
    made.staged("config.json").write_text("new")
    with pytest.raises(IntegrityError, match=r"config\.json are missing"):
        files_at(tmp_path)


def test_of_a_link_the_file_is_staged_where_the_link_leads(tmp_path: Path) -> None:
    elsewhere, directory = tmp_path / "elsewhere", tmp_path / "m"
    staging = staging_name()
    for parent in (elsewhere, directory):
        (parent / staging).mkdir(parents=True)
    (elsewhere / "words").write_text("old")
    (directory / "vocab.txt").symlink_to(elsewhere / "words")
    (elsewhere / staging / "words").write_text("new")
    files = {"vocab.txt": StagedFile.of(elsewhere / staging / "words")}
    made = Journal(directory=directory, staging=staging, files=files)
    made.begin()
    assert texts(directory) == {"vocab.txt": "new"}
    made.finish()
    assert (directory / "vocab.txt").is_symlink()
    assert (elsewhere / "words").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "m", "vocab.txt", "words"]


HOSTILE = {
    "no object": "[]",
    "no files": {"files": None},
    "a path": {"files": {"../config.json": "STAGED"}},
    "an absolute path": {"files": {"/etc/passwd": "STAGED"}},
    "no name": {"files": {"..": "STAGED"}},
    "another staging directory": {"staging": "../other"},
    "a temporary of something else": {"staging": f".blob.{'0' * 32}.tmp"},
    "a staging directory that is not text": {"staging": 3},
    "a path to remove": {"removed": ["../precious.bin"]},
    "a time that is not a number": {"files": {"config.json": {"size": 1, "sha256": "0" * 64, "mtime_ns": "x"}}},
    "names that are not a list": {"removed": 3},
}


@pytest.mark.parametrize("keys", HOSTILE.values(), ids=HOSTILE)
def test_a_journal_that_no_save_wrote_is_refused_by_name(tmp_path: Path, keys: object) -> None:
    made = begun(tmp_path)
    good = json.loads(made.path.read_text())
    text = json.dumps({**good, **keys} if isinstance(keys, dict) else keys)
    made.path.write_text(text.replace('"STAGED"', json.dumps(good["files"]["config.json"])))
    with pytest.raises(ConfigError, match=JOURNAL_NAME):
        read_journal(tmp_path)


def test_a_journal_removes_nothing_but_weights(tmp_path: Path) -> None:
    made = begun(tmp_path)
    keys = json.loads(made.path.read_text())
    made.path.write_text(json.dumps({**keys, "removed": ["notes.txt", "old.bin"]}))
    found = read_journal(tmp_path)
    assert found is not None
    assert found.removed == ("old.bin",)


def test_a_reader_waits_until_the_files_have_their_names(tmp_path: Path) -> None:
    made = begun(tmp_path)
    entered = threading.Event()

    def finish() -> None:
        with locked(tmp_path):
            entered.set()
            time.sleep(0.2)
            made.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    entered.wait()
    with settled(tmp_path) as found:
        assert found is None
    thread.join()


def test_a_save_that_does_not_finish_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with locked(tmp_path), pytest.raises(IntegrityError, match=rf"{tmp_path} is being overwritten"):
        files_at(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="directories cannot be locked there")
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        f"from registry.files.atomic import locked\nwith locked({str(tmp_path)!r}): print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with locked(tmp_path, patience=0) as held:
        assert held is False
    holder.kill()
    holder.wait()
    with locked(tmp_path, patience=5) as held:
        assert held is True
    for pipe in (holder.stdin, holder.stdout):
        assert pipe is not None
        pipe.close()


def test_a_lock_is_shared_by_readers_alone(tmp_path: Path) -> None:
    with locked(tmp_path, shared=True) as one, locked(tmp_path, shared=True, patience=0) as other:
        assert one is other is True
        with locked(tmp_path, patience=0) as third:
            assert third is False
