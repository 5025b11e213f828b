"""What was used once stays what it was, until an update is asked for; and an update costs what changed."""

import json
import shutil
from collections.abc import Mapping
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import registry
from registry.cache.cache import Cache
from registry.cli import main
from registry.download.fetch import Policy, fetch
from registry.errors import FetchError, IntegrityError, NotCachedError, RegistryWarning
from registry.sources.files import Files
from registry.sources.pull import pull_files
from registry.sources.resolve import resolve

A, B = "a" * 40, "b" * 40
OLD = {"config.json": b'{"v": 1}', "model.safetensors": bytes(range(256)) * 4096, "vocab.txt": b"old\n" * 50_000}
NEW = {"config.json": b'{"v": 2}', "model.safetensors": bytes(range(255, -1, -1)) * 4096}


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a commit of ``me/toy`` into the cache of the hub's client, as its main branch."""
    home = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(home))

    def write(files: Mapping[str, bytes], commit: str) -> Path:
        repository = home / "models--me--toy"
        for name, data in files.items():
            blob = repository / "blobs" / sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            path = repository / "snapshots" / commit / name
            for directory in (blob.parent, path.parent):
                directory.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(data)
            path.symlink_to(f"../../blobs/{blob.name}")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        return repository

    return write


def files(name: str = "me/toy", *roles: str, **options: Any) -> dict[str, bytes]:
    return {file: path.read_bytes() for file, path in Files(resolve(name), Policy(**options)).of(*roles).items()}


# --- The cache of another program -------------------------------------------------------------------------------------


def test_what_came_from_another_programs_cache_stays_when_its_branch_moves(hub: Any, client: Any) -> None:
    client(OLD, A)
    assert files() == OLD
    client(NEW, B)
    assert files() == OLD
    assert files(offline=True) == OLD
    assert hub.count() == 0
    assert Cache.at().commit("https://huggingface.co/me/toy/resolve/main") == A


def test_a_part_that_was_used_pins_the_rest(hub: Any, client: Any) -> None:
    client({"config.json": OLD["config.json"]}, A)
    assert files("me/toy", "config") == {"config.json": OLD["config.json"]}
    hub.hub("me/toy", NEW, commit=B)
    hub.hub("me/toy", OLD, commit=A, branch="old")
    assert files() == OLD
    client(NEW, B)
    assert files() == OLD


def test_a_pinned_commit_that_another_program_removed_is_not_replaced_by_a_newer_one(hub: Any, client: Any) -> None:
    repository = client(OLD, A)
    assert files() == OLD
    client(NEW, B)
    shutil.rmtree(repository / "snapshots" / A)
    with pytest.raises(NotCachedError):
        files(offline=True)
    hub.hub("me/toy", NEW, commit=B)
    hub.hub("me/toy", OLD, commit=A, branch="old")
    assert files() == OLD


def test_an_update_moves_the_pin_and_removing_the_model_removes_it(hub: Any, client: Any) -> None:
    client(OLD, A)
    files()
    hub.hub("me/toy", NEW, commit=B)
    with pytest.warns(RegistryWarning):
        assert files(str(registry.pull("me/toy", update=True))) == NEW
    assert files() == NEW
    assert CliRunner().invoke(main, ["cache", "rm", "me/toy"]).exit_code == 0
    assert Cache.at().commit("https://huggingface.co/me/toy/resolve/main") is None
    assert files() == OLD, "the client's cache still has it"


def test_a_cache_that_cannot_be_written_is_used_all_the_same(
    hub: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Cache, "_record", record)
    client(OLD, A)
    assert files() == OLD


# --- Our own cache ----------------------------------------------------------------------------------------------------


def test_a_pinned_file_whose_bytes_are_gone_comes_back_as_it_was_or_not_at_all(server: Any, cache: Cache) -> None:
    url = server.add("/model.bin", OLD["model.safetensors"])
    path = fetch(url, Policy())
    path.unlink()
    server.add("/model.bin", NEW["model.safetensors"])
    with pytest.raises(IntegrityError, match="pull --update") as caught:
        fetch(url, Policy())
    assert path.name in str(caught.value)
    server.add("/model.bin", OLD["model.safetensors"])
    assert fetch(url, Policy()) == path
    server.add("/model.bin", NEW["model.safetensors"])
    assert fetch(url, Policy(update=True)).read_bytes() == NEW["model.safetensors"]


def test_a_listing_whose_bytes_are_gone_is_that_of_the_same_commit(hub: Any, cache: Cache) -> None:
    hub.hub("me/toy", OLD, commit=A)
    files()
    entry = cache.entry("https://huggingface.co/api/models/me/toy/revision/main")
    assert entry is not None
    cache.blob(entry.sha256).unlink()
    hub.hub("me/toy", NEW, commit=B)
    assert files() == OLD


# --- Lock files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["me/toy", "card"])
def test_a_lock_holds_whatever_the_cache_knows(
    name: str, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from registry import Card, FileSpec, hookimpl

    names = {"config": "config.json", "weights": "model.safetensors"}
    listed = tuple(FileSpec(role=role, filename=name, urls=(f"hub:me/toy/{name}",)) for role, name in names.items())
    card = Card(name="card", architecture="toy", task="base", files=listed)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    old = {file: OLD[file] for file in names.values()}
    hub.hub("me/toy", old, commit=A)
    lock = tmp_path / "registry.lock"
    lock.write_text(CliRunner().invoke(main, ["lock", name]).stdout)
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "elsewhere"))
    hub.hub("me/toy", NEW, commit=B)
    hub.hub("me/toy", old, commit=A, branch="old")
    assert files(name) == NEW
    monkeypatch.setenv("REGISTRY_LOCK", str(lock))
    assert files(name) == old
    assert files(name, offline=True) == old
    monkeypatch.delenv("REGISTRY_LOCK")
    assert files(name) == NEW, "both lie side by side"


# --- Updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("always::registry.errors.RegistryWarning")
def test_an_update_says_what_was_added_changed_and_removed(hub: Any) -> None:
    hub.hub("me/toy", OLD, commit=A)
    assert set(pull_files("me/toy").files.values()) == {"fetched"}
    assert set(pull_files("me/toy").files.values()) == {"unchanged"}
    moved = {**NEW, "config.json": OLD["config.json"], "merges.txt": b"a b\n"}
    hub.hub("me/toy", moved, commit=B)
    result = CliRunner().invoke(main, ["pull", "--update", "--json", "me/toy"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["files"] == {
        "config.json": "unchanged",
        "model.safetensors": "changed",
        "merges.txt": "added",
        "vocab.txt": "removed",
    }
    assert "vocab.txt was removed" in result.stderr
    assert "model.safetensors changed" in result.stderr
    assert files() == moved


def test_an_update_of_what_is_here_in_part_names_no_file_as_new(hub: Any, cache: Cache) -> None:
    hub.hub("me/toy", OLD, commit=A)
    Files(resolve("me/toy")).of()["vocab.txt"].unlink()
    hub.hub("me/toy", NEW, commit=B)
    with pytest.warns(RegistryWarning, match="changed"):
        assert pull_files("me/toy", update=True).files == {"config.json": "changed", "model.safetensors": "changed"}


# --- Content that is here already -------------------------------------------------------------------------------------


def received(hub: Any) -> int:
    """Bytes of bodies, and for each answer as much as its headers may take."""
    return sum(hub.sent.values()) + 1000 * len(hub.requests)


def test_a_commit_that_changes_only_the_readme_costs_kilobytes(hub: Any, cache: Cache) -> None:
    shards = {f"model-0000{n}-of-00003.safetensors": bytes([n]) * 3_000_000 for n in (1, 2, 3)}
    index = json.dumps({"weight_map": {name: name for name in shards}}).encode()
    model = {
        **{name: OLD[name] for name in ("config.json", "vocab.txt")},
        "tokenizer_config.json": b"{}",
        "model.safetensors.index.json": index,
        **shards,
    }
    hub.hub("me/toy", {**model, "README.md": b"tpyo"}, commit=A)
    assert files() == model
    hub.forget()
    hub.hub("me/toy", {**model, "README.md": b"typo"}, commit=B)
    assert set(pull_files("me/toy", update=True).files.values()) == {"unchanged"}
    assert received(hub) <= 20_000
    hub.forget()
    assert files() == model
    assert hub.count() == 0
    assert cache.entry(f"https://huggingface.co/me/toy/resolve/{B}/config.json").revision == B


def test_files_of_another_program_count_as_here(hub: Any, client: Any) -> None:
    client(OLD, A)
    assert files() == OLD
    hub.hub("me/toy", OLD, commit=B)
    assert set(pull_files("me/toy", update=True).files.values()) == {"unchanged"}
    assert received(hub) <= 20_000


def test_content_is_known_under_any_url_whose_server_names_its_sha256(server: Any, cache: Cache) -> None:
    data = OLD["model.safetensors"] * 32
    first = fetch(server.add("/a/model.bin", data), Policy())
    url = server.add("/b/model.bin", data)
    assert fetch(url, Policy()) == first
    assert server.sent["/b/model.bin"] < len(data) / 2, "what was on its way already"
    assert fetch(server.add("/c/model.bin", data), Policy(), sha256=sha256(data).hexdigest()) == first
    assert server.count("/c/model.bin") == 0


def test_known_content_that_is_damaged_is_fetched(server: Any, cache: Cache) -> None:
    data = OLD["model.safetensors"]
    first = fetch(server.add("/a/model.bin", data), Policy())
    first.chmod(0o644)
    first.write_bytes(bytes(len(data)))
    assert fetch(server.add("/b/model.bin", data), Policy()).read_bytes() == data


def test_a_server_that_names_known_content_in_place_of_what_was_promised_is_refused(server: Any, cache: Cache) -> None:
    fetch(server.add("/a/model.bin", OLD["model.safetensors"]), Policy())
    url = server.add("/b/model.bin", OLD["model.safetensors"])
    with pytest.raises(FetchError, match="does not match its digest"):
        fetch(url, Policy(), sha256=sha256(NEW["model.safetensors"]).hexdigest())


# --- Offline ----------------------------------------------------------------------------------------------------------


def test_offline_all_missing_files_of_a_repository_are_named_with_the_command(hub: Any, cache: Cache) -> None:
    hub.hub("me/toy", OLD, commit=A)
    found = Files(resolve("me/toy")).of()
    for name in ("model.safetensors", "vocab.txt"):
        found[name].unlink()
    with pytest.raises(
        NotCachedError, match=r"Wanted: model\.safetensors, vocab\.txt of hub repository 'me/toy'"
    ) as caught:
        files(offline=True)
    assert "`registry pull me/toy`" in str(caught.value)


def test_a_file_that_another_program_removed_is_no_damage(hub: Any, client: Any) -> None:
    repository = client(OLD, A)
    files()
    shutil.rmtree(repository)
    assert CliRunner().invoke(main, ["cache", "verify"]).exit_code == 0
    assert "gone" in CliRunner().invoke(main, ["cache", "list", "--files"]).stdout
