"""``Files``: cache, offline and lock file are decided once, and what was answered once is not looked for again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import discovery
from registry.cache.cache import Cache
from registry.download import fetch
from registry.download.policy import Policy
from registry.errors import ConflictingOptionsError, NotCachedError
from registry.sources import lockfile
from registry.sources.files import Files
from registry.sources.origins import origins
from registry.sources.resolve import resolve

FILES = {"config.json": b'{"model_type": "toy"}', "pytorch_model.bin": bytes(1000), "vocab.txt": b"[UNK]\n"}


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub with one repository."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("me/toy", FILES)
    return server


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[object]]:
    """Count the calls of a function from now on."""

    def count(owner: Any, name: str) -> list[object]:
        calls: list[object] = []
        real = getattr(owner, name)

        def counting(*arguments: object, **keywords: object) -> object:
            calls.append(arguments)
            return real(*arguments, **keywords)

        monkeypatch.setattr(owner, name, counting)
        return calls

    return count


def test_the_files_of_a_directory_are_looked_for_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    files = Files(resolve(tmp_path), Policy())
    assert files.of("config") == {"config.json": tmp_path / "config.json"}
    (tmp_path / "vocab.txt").write_text("a")
    assert files.of("config") == {"config.json": tmp_path / "config.json"}
    assert set(files.of()) == {"config.json", "vocab.txt"}


def test_roles_are_answered_one_by_one_and_together(hub: Any) -> None:
    files = Files(resolve("hub:me/toy"))
    assert set(files.of("config")) == {"config.json"}
    assert set(files.of("weights")) == {"pytorch_model.bin"}
    assert set(files.of("config", "vocab")) == {"config.json", "vocab.txt"}
    assert {name: path.read_bytes() for name, path in files.of().items()} == FILES


def test_a_second_question_asks_neither_discovery_nor_cache_nor_server(
    hub: Any, counted: Callable[[Any, str], list[object]]
) -> None:
    files = Files(resolve("hub:me/toy"))
    first = files.of("config"), files.of("vocab")
    hub.forget()
    calls = [counted(discovery, "every"), counted(Cache, "entry"), counted(fetch, "fetch")]
    assert (files.of("config"), files.of("vocab")) == first
    assert calls == [[], [], []]
    assert hub.count() == 0


def test_a_lock_file_is_read_once(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Callable[[Any, str], list[object]]
) -> None:
    source = resolve("hub:me/toy")
    locked = {str(source.lock_key): origins(source, Files(source).of(), Cache.at())}
    path = tmp_path / "registry.lock"
    path.write_text(lockfile.dump(locked))
    monkeypatch.setenv("REGISTRY_LOCK", str(path))
    reads = counted(lockfile, "read")
    files = Files(source)
    path.write_text(json.dumps({"schema": 1, "models": {"other": {}}}))
    assert len(files.of("config")) == 1
    assert len(files.of("weights")) == 1
    assert len(reads) == 1


def test_the_environment_is_asked_once(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    offline = Files(resolve("hub:me/toy"))
    monkeypatch.delenv("REGISTRY_OFFLINE")
    online = Files(resolve("hub:me/toy"))
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    with pytest.raises(NotCachedError):
        offline.of("config")
    config = online.of("config")["config.json"]
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "elsewhere"))
    weights = online.of("weights")["pytorch_model.bin"]
    assert config.parents[1] == weights.parents[1]


def test_an_update_offline_is_a_contradiction() -> None:
    with pytest.raises(ConflictingOptionsError, match="cannot be updated offline"):
        Policy(update=True, offline=True)
