"""Sources as values: what each says of itself, and that it can be copied, pickled and compared."""

import copy
import pickle
from pathlib import Path

import pytest

import registry
from registry.sources.card import CardSource
from registry.sources.hub import HubSource
from registry.sources.on_disk import ArchiveSource, CheckpointSource, DirectorySource, FileSource
from registry.sources.packages import PackageSource
from registry.sources.source import Source
from registry.sources.web import WebArchiveSource, WebSource

NAMES: dict[str, tuple[type[Source], str, str | None]] = {
    "all-minilm-l6-v2": (CardSource, "model 'all-minilm-l6-v2'", "all-minilm-l6-v2"),
    "./directory": (DirectorySource, "directory 'directory'", None),
    "./directory/weights.bin": (FileSource, "file 'directory/weights.bin'", None),
    "./directory/model.ckpt": (CheckpointSource, "checkpoint 'directory/model.ckpt'", None),
    "./directory/model.zip": (ArchiveSource, "archive 'directory/model.zip'", None),
    "pkg:a-dist/a/model": (PackageSource, "package data 'pkg:a-dist/a/model'", "pkg:a-dist/a/model"),
    "https://me:secret@a.org/model": (WebSource, "URL 'https://a.org/model'", "https://a.org/model"),
    "https://a.org/m.tgz": (WebArchiveSource, "archive 'https://a.org/m.tgz'", "https://a.org/m.tgz"),
    "hub:me/toy@v1": (HubSource, "hub repository 'hub:me/toy'", "hub:me/toy@v1"),
}
"""Name -> its class, its noun phrase, and its key in a lock file."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    for file in ("weights.bin", "model.ckpt.index", "model.zip"):
        (tmp_path / "directory" / file).touch()
    return str(request.param)


def test_each_kind_of_name_has_a_class_of_its_own(name: str) -> None:
    source = registry.resolve(name)
    assert (type(source), str(source), source.lock_key) == NAMES[name]
    assert source.asked == name
    assert (source.card is None) == (type(source) is not CardSource)


def test_a_source_can_be_copied_and_pickled(name: str) -> None:
    source = registry.resolve(name)
    for other in (copy.copy(source), copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert other == source
        assert type(other) is type(source)


def test_a_source_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        registry.resolve(name).asked = "other"


def test_a_misspelled_digest_of_an_archive_is_refused() -> None:
    for fragment in ("sha256=0", "md5=" + "0" * 32, "sha256=" + "A" * 64, ""):
        with pytest.raises(registry.RegistryError, match="64 lower-case hex digits"):
            registry.resolve(f"https://a.org/model.tar.gz#{fragment}")
    assert registry.resolve(f"https://a.org/model.tar.gz#sha256={'0' * 64}").kind == "archive"
