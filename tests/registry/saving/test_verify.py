"""Comparing files with what was promised."""

import io
import json
import sys
from pathlib import Path

import pytest

import registry
from registry.cache.cache import Cache
from registry.errors import IntegrityError, MissingFileError, UnknownModelError
from registry.files.atomic import content_writer
from registry.files.filenames import MANIFEST_NAME
from registry.saving.folder import write_folder
from registry.saving.manifest import warn_of_disagreements
from registry.saving.verify import verify

FILES = {"config.json": "a config", "model.safetensors": "some weights"}
HUB_FILES = {"config.json": b'{"model_type": "toy"}', "model.safetensors": b"\x08" + bytes(7)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", {name: content_writer(text) for name, text in FILES.items()}, about={})


@pytest.fixture
def hub(server, loopback: None, monkeypatch: pytest.MonkeyPatch):
    """A hub with a repository of which a tag has another configuration."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("me/toy", HUB_FILES)
    server.hub("me/toy", HUB_FILES | {"config.json": b"{}"}, commit="b" * 40, branch="v2")
    return server


def test_a_single_changed_bit_is_found(folder: Path) -> None:
    (folder / "README.md").write_text("not ours")
    assert verify(folder) == {"config.json": "ok", "model.safetensors": "ok", "README.md": "no digest known"}
    (folder / "model.safetensors").write_text("some weightz")
    warn_of_disagreements({path.name: path for path in folder.iterdir()})  # only the digest tells: sizes are equal
    with pytest.raises(IntegrityError, match=r"model\.safetensors is changed"):
        verify(folder)


def test_all_files_that_differ_are_named(folder: Path) -> None:
    (folder / "config.json").write_text("another")
    (folder / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"config\.json is changed; model\.safetensors is missing"):
        verify(folder)


def test_what_is_not_there_is_not_verified(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        verify("no-such-model")
    with pytest.raises(MissingFileError):
        verify(tmp_path / "nowhere")


def test_nothing_is_fetched_unless_offline_is_false(hub, tmp_path: Path) -> None:
    for offline in (None, True):
        with pytest.raises(MissingFileError):
            verify("hub:me/toy", offline=offline)
    assert hub.count() == 0
    assert verify("hub:me/toy", offline=False) == dict.fromkeys(HUB_FILES, "ok")
    hub.forget()
    assert verify("hub:me/toy") == dict.fromkeys(HUB_FILES, "ok")
    assert hub.count() == 0


def test_the_cache_and_the_revision_are_those_that_are_named(hub, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    verify("hub:me/toy", cache_dir=elsewhere, revision="v2", offline=False)
    assert not Cache.at().directory.exists()
    for cache_dir, revision in ((elsewhere, None), (None, "v2")):
        with pytest.raises(MissingFileError):
            verify("hub:me/toy", cache_dir=cache_dir, revision=revision)
    config = next(entry for entry in Cache.at(elsewhere).entries() if entry.url.endswith("config.json"))
    assert config.size == len(b"{}")
    blob = Cache.at(elsewhere).blob(config.sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"[]")
    with pytest.raises((IntegrityError, registry.errors.CacheCorruptError)):
        verify("hub:me/toy", cache_dir=elsewhere, revision="v2")


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_counts_the_bytes_that_are_hashed(folder: Path, monkeypatch: pytest.MonkeyPatch, progress: bool) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    verify(folder, progress=progress)
    total = sum(len(text) for text in FILES.values())
    assert (f"/{total}.0" in sys.stderr.getvalue()) is progress
    assert ("Hashing" in sys.stderr.getvalue()) is progress


def test_a_manifest_may_promise_more_than_is_there(folder: Path) -> None:
    keys = json.loads((folder / MANIFEST_NAME).read_text())
    keys["files"]["vocab.txt"] = {"size": 1, "sha256": "0" * 64}
    (folder / MANIFEST_NAME).write_text(json.dumps(keys))
    with pytest.raises(IntegrityError, match=r"vocab\.txt is missing"):
        verify(folder)
