"""Looking after the cache, on the command line: path, list, rm, prune and verify."""

import json
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import registry
from registry.cache.cache import Cache
from registry.cli import main
from registry.download.fetch import Policy, fetch
from registry.errors import CacheCorruptError
from registry.sources.files import Files
from registry.sources.resolve import resolve

FILES = {"config.json": b'{"model_type": "toy"}', "pytorch_model.bin": bytes(range(256)) * 4}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="registry")


def listed() -> list[str]:
    return [file["url"] for file in json.loads(run("cache", "list", "--files", "--json").stdout)]


def age(*paths: Path, hours: float) -> None:
    for path in paths:
        os.utime(path, (time.time() - hours * 3600,) * 2)


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub with two repositories that have one file in common."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("me/toy", FILES)
    server.hub("me/twin", FILES | {"config.json": b'{"model_type": "twin"}'}, commit="b" * 40)
    return server


def packed(tmp_path: Path) -> Path:
    import tarfile

    (tmp_path / "model").mkdir()
    for name, data in FILES.items():
        (tmp_path / "model" / name).write_bytes(data)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model", arcname=".")
    return tmp_path / "model.tar.gz"


# --- path, list -------------------------------------------------------------------------------------------------------


def test_path_prints_the_directory(cache: Cache) -> None:
    assert run("cache", "path").stdout == f"{cache.directory}\n"
    assert json.loads(run("cache", "path", "--json").stdout) == {"path": str(cache.directory)}


def test_list_prints_what_is_kept_and_writes_nothing(hub: Any, cache: Cache) -> None:
    assert (run("cache", "list").stdout, listed()) == ("", [])
    assert not cache.directory.exists()
    Files(resolve("me/toy")).of()
    result = run("cache", "list", "--files")
    line = next(line for line in result.stdout.splitlines() if "pytorch_model.bin" in line)
    assert "1,024 bytes" in line
    assert line.endswith("here")
    listing = json.loads(run("cache", "list", "--files", "--json").stdout)
    entry = next(entry for entry in listing if entry["url"].endswith("/config.json"))
    assert entry["sha256"] == sha256(FILES["config.json"]).hexdigest()
    assert Path(entry["path"]).read_bytes() == FILES["config.json"]


def test_the_sizes_of_models_add_up_to_what_is_on_the_disk(hub: Any, cache: Cache, tmp_path: Path) -> None:
    Files(resolve("me/toy")).of()
    Files(resolve("me/twin")).of()
    registry.pull("me/twin")
    registry.pull("all-minilm-l6-v2")
    Files(resolve(packed(tmp_path))).of()
    (cache.home / "partial").mkdir(exist_ok=True)
    (cache.home / "partial" / "x.part").write_bytes(b"123")
    found = json.loads(run("cache", "list", "--json").stdout)
    sizes = {model["model"]: model["size"] for model in found["models"]}
    assert set(sizes) >= {"me/toy", "me/twin", "all-minilm-l6-v2"}
    assert sizes["all-minilm-l6-v2"] > 90_000_000
    assert found["other"]["interrupted downloads"] == 3
    assert found["other"]["shared by several models"] == 1024
    inodes = {
        (path.stat().st_dev, path.stat().st_ino): path.stat().st_size
        for path in cache.home.rglob("*")
        if path.is_file()
    }
    assert sum(sizes.values()) + sum(found["other"].values()) == found["total"] == sum(inodes.values())
    result = run("cache", "list")
    assert result.stdout.splitlines()[1].split()[0] == "all-minilm-l6-v2", "the largest first"
    assert str(cache.home) in result.stderr


def test_clear_removes_all_models_but_no_download_that_is_under_way(hub: Any, cache: Cache) -> None:
    Files(resolve("me/toy")).of()
    pulled = registry.pull("all-minilm-l6-v2")
    (cache.home / "partial").mkdir(exist_ok=True)
    under_way = cache.home / "partial" / "x.part"
    under_way.write_bytes(b"123")
    assert run("cache", "clear").exit_code == 2, "nobody was asked"
    assert pulled.exists()
    assert json.loads(run("cache", "clear", "--yes", "--json").stdout)["removed"] > 90_000_000
    assert listed() == []
    assert not pulled.exists()
    assert under_way.exists()
    assert registry.load_config("all-minilm-l6-v2").hidden_size == 384
    assert Files(resolve("me/toy")).of()


# --- rm ---------------------------------------------------------------------------------------------------------------


def test_rm_removes_a_model_and_leaves_what_another_needs(hub: Any, cache: Cache) -> None:
    toy, twin = Files(resolve("me/toy")).of(), Files(resolve("me/twin")).of()
    assert toy["pytorch_model.bin"] == twin["pytorch_model.bin"]
    result = run("cache", "rm", "hub:me/toy", "--json")
    assert all("me/toy" in url for url in json.loads(result.stdout))
    assert not any("me/toy" in url for url in listed())
    assert not toy["config.json"].exists()
    assert Files(resolve("me/twin"), Policy(offline=True)).of() == twin
    assert run("cache", "rm", "hub:me/twin").exit_code == 0
    assert listed() == []
    assert list((cache.home / "blobs").glob("*/*")) == []


def test_rm_takes_urls_archives_and_pulled_directories(hub: Any, cache: Cache, tmp_path: Path) -> None:
    url = hub.add("/file.bin", b"bytes")
    fetch(url, Policy())
    path = packed(tmp_path)
    Files(resolve(path)).of()
    pulled = registry.pull("me/toy")
    assert run("cache", "rm", url, str(path), "hub:me/toy").exit_code == 0
    assert listed() == []
    assert not pulled.exists()
    assert list((cache.home / "unpacked").iterdir()) == []
    assert path.exists(), "what is not ours stays"


def test_rm_removes_the_directory_of_a_model_that_no_server_sent(cache: Cache) -> None:
    pulled = registry.pull("all-minilm-l6-v2")
    age(pulled, hours=2)
    assert json.loads(run("cache", "prune", "--json").stdout) == [], "it is of a model"
    removed = run("rm", "all-minilm-l6-v2")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert removed.stderr == "Removed all-minilm-l6-v2: 91.1 MB.\n"
    assert not pulled.exists()
    assert json.loads(run("cache", "list", "--json").stdout)["models"] == []


def test_prune_removes_the_directory_of_an_older_version(hub: Any, cache: Cache) -> None:
    before = registry.pull("me/toy")
    hub.hub("me/toy", FILES | {"config.json": b'{"model_type": "new"}'}, commit="c" * 40)
    with pytest.warns(registry.errors.RegistryWarning, match="changed"):
        after = registry.pull("me/toy", update=True)
    age(before, after, hours=2)
    assert str(before) in json.loads(run("cache", "prune", "--json").stdout)
    assert not before.exists()
    assert after.exists()


def test_rm_of_what_is_not_there_ends_with_3(hub: Any) -> None:
    result = run("cache", "rm", "me/toy")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nothing of 'me/toy' is in the cache" in result.stderr


def test_a_reader_goes_on_undisturbed_when_a_file_is_removed(hub: Any) -> None:
    path = Files(resolve("me/toy")).of()["pytorch_model.bin"]
    with path.open("rb") as file:
        assert run("cache", "rm", "me/toy").exit_code == 0
        assert not path.exists()
        assert file.read() == FILES["pytorch_model.bin"]
    assert Files(resolve("me/toy")).of()["pytorch_model.bin"].read_bytes() == FILES["pytorch_model.bin"]


# --- prune ------------------------------------------------------------------------------------------------------------


def test_prune_leaves_what_is_young_or_needed(hub: Any, cache: Cache, tmp_path: Path) -> None:
    Files(resolve("me/toy")).of()
    path = packed(tmp_path)
    Files(resolve(path)).of()
    blob = cache.blob(sha256(b"nameless").hexdigest())
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"nameless")
    assert json.loads(run("cache", "prune", "--json").stdout) == []
    everything = [file for file in cache.home.rglob("*") if file != blob]
    age(*everything, hours=48)
    assert json.loads(run("cache", "prune", "--json").stdout) == [], "all but one are needed, and that is young"
    age(blob, hours=48)
    assert json.loads(run("cache", "prune", "--json").stdout) == [str(blob)]
    assert (
        len(Files(resolve("me/toy"), Policy(offline=True)).of())
        == len(Files(resolve(path), Policy(offline=True)).of())
        == 2
    )


def test_prune_removes_what_nothing_names_any_more(hub: Any, cache: Cache, tmp_path: Path) -> None:
    path = packed(tmp_path)
    directory = Files(resolve(path)).of()["config.json"].parents[1]
    config = Files(resolve("me/toy")).of()["config.json"]
    config.unlink()
    path.unlink()
    assert run("cache", "prune").stdout == ""
    age(directory, *(cache.home / "refs").iterdir(), hours=2)
    gone = json.loads(run("cache", "prune", "--json").stdout)
    assert str(directory) in gone
    assert len(gone) == 3, "the directory, and the records of the archive and of the configuration"
    assert not directory.exists()
    assert "gone" not in run("cache", "list").stdout


def test_prune_leaves_unpacked_directories_younger_than_an_hour(cache: Cache, tmp_path: Path) -> None:
    path = packed(tmp_path)
    directory = Files(resolve(path)).of()["config.json"].parents[1]
    for record in (cache.home / "refs").iterdir():
        record.unlink()  # as if its process had not recorded it yet
    age(directory, hours=0.9)
    assert json.loads(run("cache", "prune", "--json").stdout) == []
    assert directory.is_dir()
    age(directory, hours=1.1)
    assert json.loads(run("cache", "prune", "--json").stdout) == [str(directory)]
    assert not directory.exists()


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_finds_a_flipped_bit_and_puts_it_aside(hub: Any, cache: Cache, tmp_path: Path) -> None:
    blob = Files(resolve("me/toy")).of()["pytorch_model.bin"]
    directory = Files(resolve(packed(tmp_path))).of()
    assert run("cache", "verify").exit_code == 0
    before = json.loads(run("cache", "verify", "--json").stdout)
    assert (before["damaged"], before["sound"] >= 5) == ({}, True)
    for path in (blob, directory["config.json"]):
        status = path.stat()
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[7] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # nothing but the digest tells
    result = run("cache", "verify", "--json")
    assert result.exit_code == 4
    assert set(json.loads(result.stdout)["damaged"]) == {str(blob), str(directory["config.json"])}
    assert not blob.exists()
    assert len(list((cache.home / "quarantine").iterdir())) == 1
    assert run("cache", "verify").exit_code == 0
    assert {name: path.read_bytes() for name, path in Files(resolve("me/toy")).of().items()} == FILES
    assert {name: path.read_bytes() for name, path in Files(resolve(tmp_path / "model.tar.gz")).of().items()} == FILES


def test_verify_finds_a_file_of_another_program_that_changed(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(b"theirs")
    cache.refer("https://example.org/x", path, sha256(b"theirs").hexdigest())
    assert run("cache", "verify").exit_code == 0
    path.write_bytes(b"THEIRS")
    result = run("cache", "verify")
    assert result.exit_code == 4
    assert result.stdout.startswith(f"{path}: its sha256 is ")
    assert path.exists()


# --- registry verify --------------------------------------------------------------------------------------------------


def test_verifying_a_model_hashes_what_the_cache_noted(hub: Any) -> None:
    paths = Files(resolve("me/toy")).of()
    hub.forget()
    assert json.loads(run("verify", "me/toy", "--json").stdout) == dict.fromkeys(FILES, "ok")
    assert "config.json        ok" in run("verify", "me/toy").stdout
    blob = paths["pytorch_model.bin"]
    status = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(bytes(len(FILES["pytorch_model.bin"])))
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = run("verify", "me/toy")
    assert result.exit_code == 4
    assert "pytorch_model.bin is changed" in result.stderr
    blob.write_bytes(b"short")
    with pytest.raises(CacheCorruptError):
        registry.verify("me/toy")
    assert run("verify", "me/toy").exit_code == 4
    assert hub.count() == 0


def test_verifying_fetches_nothing(hub: Any) -> None:
    result = run("verify", "me/toy")
    assert result.exit_code == 3
    assert hub.count() == 0


def test_verifying_a_saved_directory_compares_it_with_its_manifest(tmp_path: Path, sizes: dict[str, int]) -> None:
    from registry.zoo import BertConfig, BertModel

    directory = registry.save(BertModel(BertConfig(**sizes)), tmp_path / "saved")
    assert set(json.loads(run("verify", str(directory), "--json").stdout).values()) == {"ok"}
    (directory / "config.json").write_text("{}")
    result = run("verify", str(directory))
    assert (result.exit_code, result.stdout) == (4, "")
    assert "config.json is changed" in result.stderr
