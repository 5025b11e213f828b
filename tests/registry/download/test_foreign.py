"""The caches of pytorch-pretrained-bert and of the hub's client, written by their own code where possible."""

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, hookimpl
from registry.cache.directories import hub_cache
from registry.download.foreign import find, snapshot
from registry.download.policy import Policy
from registry.errors import NotCachedError, RegistryWarning
from registry.sources.files import Files
from registry.sources.resolve import resolve

URL = "https://s3.amazonaws.com/models.huggingface.co/bert/toy-vocab.txt"
HUB = "https://huggingface.co/me/toy/resolve/main/vocab.txt"
BYTES = b"[UNK]\n[CLS]\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keep_as_pytorch_pretrained_bert(directory: Path, etag: str | None, data: bytes = BYTES, url: str = URL) -> Path:
    """An entry under the name that pytorch-pretrained-bert's own function gives it."""
    from pytorch_pretrained_bert.file_utils import filename_to_url, url_to_filename

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / url_to_filename(url, etag)
    path.write_bytes(data)
    path.with_name(path.name + ".json").write_text(json.dumps({"url": url, "etag": etag}))
    assert filename_to_url(path.name, str(directory)) == (url, etag)
    return path


def keep_as_the_hub(
    name: str = "vocab.txt", data: bytes = BYTES, *, etag: str | None = None, repository: str = "me/toy"
) -> Path:
    """A file in the hub's cache, which its own client finds there."""
    from huggingface_hub import try_to_load_from_cache

    home = hub_cache() / f"models--{repository.replace('/', '--')}"
    blob = home / "blobs" / (etag or git_sha1(data))
    path = home / "snapshots" / COMMIT / name
    for directory in (blob.parent, path.parent, home / "refs"):
        directory.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    path.symlink_to(os.path.relpath(blob, path.parent))
    (home / "refs" / "main").write_text(COMMIT)
    assert try_to_load_from_cache(repository, name, cache_dir=hub_cache()) == str(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def look(url: str, cache: Path, digest: str | None = None, verify: bool = True) -> Path | None:
    return find(url, cache_dir=cache, sha256=digest, verify=verify)


# --- pytorch-pretrained-bert ------------------------------------------------------------------------------------------


def test_an_entry_of_pytorch_pretrained_bert_is_used_where_it_lies(cache: Path) -> None:
    path = keep_as_pytorch_pretrained_bert(cache, f'"{md5(BYTES)}"')
    assert look(URL, cache) == path
    assert look(URL, cache, sha256(BYTES)) == path
    assert look("https://example.org/other", cache) is None
    assert {entry.name for entry in cache.iterdir()} == {path.name, path.name + ".json"}, "nothing was written"


def test_the_name_of_an_entry_is_the_one_known_from_logs(cache: Path) -> None:
    """facts: the vocabulary of pytorch-pretrained-bert's most used model, whose ETag was an md5 in quotes."""
    url = "https://s3.amazonaws.com/models.huggingface.co/bert/bert-base-uncased-vocab.txt"
    name = (
        "26bc1ad6c0ac742e9b52263248f6d0f00068293b33709fae12320c0e35ccfbbb"
        ".542ce4285a40d23a559526243235df47c5f75c197f04f37d1a0c124c32c9a084"
    )
    cache.mkdir()
    (cache / name).write_bytes(BYTES)
    (cache / f"{name}.json").write_text(json.dumps({"url": url, "etag": '"64800d5d8528ce344256daf115d4965e"'}))
    assert look(url, cache, verify=False) == cache / name
    with pytest.warns(RegistryWarning, match="ignored"):  # these bytes are not that vocabulary
        assert look(url, cache) is None


def test_the_older_directory_of_pytorch_pretrained_bert_is_looked_at_too(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = keep_as_pytorch_pretrained_bert(tmp_path / "home" / ".pytorch_pretrained_bert", f'"{md5(BYTES)}"')
    assert look(URL, cache) == path


@pytest.mark.parametrize("digest", [md5, git_sha1, sha256])
def test_the_etag_is_verified_whatever_digest_it_is(digest: object, cache: Path) -> None:
    assert callable(digest)
    path = keep_as_pytorch_pretrained_bert(cache, f'"{digest(BYTES)}"')
    assert look(URL, cache) == path
    path.write_bytes(BYTES[:-1])
    with pytest.warns(RegistryWarning, match=f"{path.name} is ignored: it does not match its digest"):
        assert look(URL, cache) is None
    assert path.exists(), "what is not ours is never deleted"


def test_the_etag_of_a_file_that_was_uploaded_in_parts_verifies_nothing(cache: Path) -> None:
    parts = [BYTES[:7], BYTES[7:]]
    digest = md5(b"".join(hashlib.md5(part).digest() for part in parts))
    path = keep_as_pytorch_pretrained_bert(cache, f'"{digest}-{len(parts)}"')
    assert look(URL, cache) is None
    assert look(URL, cache, sha256(BYTES)) == path


def test_the_newest_sound_entry_wins(cache: Path) -> None:
    old, new, damaged = BYTES, BYTES * 2, BYTES * 3
    paths = [keep_as_pytorch_pretrained_bert(cache, f'"{md5(data)}"', data) for data in (old, new, damaged)]
    for age, path in zip((300, 200, 100), paths, strict=True):
        os.utime(path, (1e9 - age, 1e9 - age))
    paths[2].write_bytes(b"half")
    os.utime(paths[2], (1e9, 1e9))
    with pytest.warns(RegistryWarning, match="ignored"):
        assert look(URL, cache) == paths[1]
    assert look(URL, cache, sha256(old), verify=False) == paths[2]
    with pytest.warns(RegistryWarning, match="ignored"):
        assert look(URL, cache, sha256(old)) == paths[0]


def test_a_cached_error_page_is_never_used(cache: Path) -> None:
    keep_as_pytorch_pretrained_bert(cache, None, b"<html>404</html>")
    assert look(URL, cache) is None
    assert look(URL, cache, verify=False) is None


def test_an_entry_without_an_etag_is_used_where_its_digest_is_promised(cache: Path) -> None:
    path = keep_as_pytorch_pretrained_bert(cache, None)
    assert look(URL, cache, sha256(BYTES)) == path
    with pytest.warns(RegistryWarning, match="ignored"):
        assert look(URL, cache, "0" * 64) is None


@pytest.mark.parametrize(
    "note", ['{"url": "https://other.example/", "etag": "x"}', '{"url": "U", "etag": 5}', '{"etag', "[]", ""]
)
def test_an_entry_whose_note_disagrees_is_not_used(note: str, cache: Path) -> None:
    path = keep_as_pytorch_pretrained_bert(cache, f'"{md5(BYTES)}"')
    path.with_name(path.name + ".json").write_text(note.replace("U", URL))
    assert look(URL, cache) is None
    path.with_name(path.name + ".json").unlink()
    assert look(URL, cache) is None


@pytest.mark.parametrize("etag", ['"v1"', 'W/"abc"', '"' + "x" * 32 + '"', '"' + "0" * 32 + '-0"', '""'])
def test_an_etag_that_is_no_digest_verifies_nothing(etag: str, cache: Path) -> None:
    keep_as_pytorch_pretrained_bert(cache, etag)
    assert look(URL, cache) is None


def test_pipes_and_directories_in_place_of_entries_are_not_waited_for(cache: Path) -> None:
    path = keep_as_pytorch_pretrained_bert(cache, f'"{md5(BYTES)}"')
    path.unlink()
    os.mkfifo(path)
    assert look(URL, cache) is None
    path.unlink()
    path.mkdir()
    assert look(URL, cache) is None


# --- The hub's client -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
def test_a_file_of_the_hubs_client_is_used_where_it_lies(large: bool, cache: Path) -> None:
    path = keep_as_the_hub(etag=sha256(BYTES) if large else None)
    assert look(HUB, cache) == path
    assert look(HUB.replace("main", COMMIT), cache) == path
    assert look(HUB, cache, sha256(BYTES)) == path
    assert look(HUB.replace("main", "other"), cache) is None
    assert look(HUB.replace("vocab", "other"), cache) is None
    assert look(HUB.replace("me/toy", "you/toy"), cache) is None
    assert snapshot("me/toy", "main") == snapshot("me/toy", COMMIT)
    assert snapshot("me/toy", "main").names == {"vocab.txt"}
    assert snapshot("me/toy", "main").commit == COMMIT
    assert snapshot("me/toy", "other") is None


def test_a_blob_that_is_itself_a_link_into_a_shared_store_is_verified(cache: Path) -> None:
    path = keep_as_the_hub()
    blob = path.resolve()
    shared = hub_cache() / "blobs" / "ab" / "whatever"
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert look(HUB, cache) == path
    shared.write_bytes(b"changed")
    with pytest.warns(RegistryWarning, match="ignored"):
        assert look(HUB, cache) is None


@pytest.fixture
def copied() -> Path:
    """A file of the hub's cache whose link became a copy, as on Windows, or where a cache was synchronized."""
    path = keep_as_the_hub()
    path.unlink()
    path.write_bytes(BYTES)
    return path


def test_a_copy_is_verified_by_the_blob_of_which_it_is_one(cache: Path, copied: Path) -> None:
    assert look(HUB, cache) == copied
    copied.write_bytes(BYTES[::-1])
    assert look(HUB, cache) is None


def test_a_copy_that_no_digest_is_known_of_is_named_with_its_directory(cache: Path, copied: Path) -> None:
    shutil.rmtree(copied.parents[2] / "blobs")
    with pytest.raises(NotCachedError, match="cannot be verified") as caught:
        Files(resolve("me/toy"), Policy(cache_dir=cache, offline=True)).of("vocab")
    assert str(copied.parent) in str(caught.value)
    assert "load that directory by its path" in str(caught.value)


def test_a_copy_without_a_digest_in_its_name_needs_one_that_is_promised(cache: Path, copied: Path) -> None:
    path = copied
    shutil.rmtree(path.parents[2] / "blobs")
    assert look(HUB, cache) is None
    assert look(HUB, cache, sha256(BYTES)) == path


def test_a_link_to_nothing_is_no_file(cache: Path) -> None:
    path = keep_as_the_hub()
    path.resolve().unlink()
    assert look(HUB, cache) is None
    assert snapshot("me/toy", "main") is None


def test_the_place_of_the_hubs_cache_is_that_of_its_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import subprocess
    import sys

    settings = (
        {"HF_HUB_CACHE": str(tmp_path / "a"), "HF_HOME": str(tmp_path / "b")},
        {"HUGGINGFACE_HUB_CACHE": str(tmp_path / "a")},
        {"HF_HOME": str(tmp_path / "b")},
        {"HF_HOME": "~/there"},
        {"XDG_CACHE_HOME": str(tmp_path / "c")},
        {},
    )
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    for setting in settings:
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
        theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert str(hub_cache()) == theirs.strip()


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/me/toy/resolve/../main/x",
        "https://huggingface.co/me/toy/resolve/main/../../../refs/main",
        "https://huggingface.co/me/toy/resolve/main/%2e%2e/%2e%2e/refs/main",
        "https://huggingface.co/me/toy/resolve/%2e%2e/vocab.txt",
        "https://huggingface.co/me/toy/raw/main/vocab.txt",
        "https://example.org/me/toy/resolve/main/vocab.txt",
    ],
)
def test_a_url_leads_nowhere_else(url: str, cache: Path) -> None:
    keep_as_the_hub()
    assert look(url, cache, verify=False) is None


def test_a_ref_that_holds_something_else_is_no_commit(cache: Path) -> None:
    path = keep_as_the_hub()
    ref = path.parents[2] / "refs" / "main"
    for content in (b"", b"../../..", b"\xff\xfe", b"0" * 39, b"0" * 10_000):
        ref.write_bytes(content)
        assert look(HUB, cache) is None
    ref.write_text(COMMIT + "\n")
    assert look(HUB, cache) == path


def test_the_name_before_organisations_counts_for_the_card_of_that_name(cache: Path) -> None:
    path = keep_as_the_hub(repository="toy")
    assert look(HUB, cache) is None, "somebody else's toy"
    card = Card(name="toy", architecture="toy", task="base", files=(), aliases=("me/toy",))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    assert look(HUB, cache) == path
    assert snapshot("me/toy", "main").names == {"vocab.txt"}
    assert look(HUB.replace("me/toy", "you/toy"), cache) is None


def test_nothing_is_raised_when_there_are_no_caches(cache: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert look(HUB, cache) is None
        assert look(URL, cache) is None
        assert snapshot("me/toy", "main") is None
