"""A process without a home directory, as containers start them for a user without a name."""

import hashlib
import os
import pwd
from pathlib import Path
from typing import NoReturn

import pytest

import registry
from registry.cache.cache import Cache
from registry.cache.directories import NOWHERE, cache_directory
from registry.download.fetch import cached_path
from registry.errors import CacheError, NotCachedError

COMMIT = "b" * 40


@pytest.fixture(autouse=True)
def _homeless(loopback: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither HOME nor an entry in the list of users."""

    def nobody(_uid: int) -> NoReturn:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "PYTORCH_PRETRAINED_BERT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert os.path.expanduser("~/x") == "~/x"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, with a repository in it."""
    monkeypatch.setenv("HF_HUB_CACHE", f"{tmp_path}/hub\n")
    home = tmp_path / "hub/models--org--name"
    body = b'{"model_type": "bert"}'
    for path in (home / "blobs", home / "refs", home / f"snapshots/{COMMIT}"):
        path.mkdir(parents=True)
    digest = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    (home / "blobs" / digest).write_bytes(body)
    (home / "refs/main").write_text(COMMIT)
    (home / f"snapshots/{COMMIT}/config.json").symlink_to(f"../../blobs/{digest}")
    return home


@pytest.mark.usefixtures("hub_cache")
def test_what_needs_no_cache_of_ours_works(tmp_path: Path) -> None:
    assert registry.load_config("org/name", offline=True).model_type == "bert"
    assert registry.load_config("org/name").model_type == "bert"
    assert registry.list_models(cached=True) == [] or registry.list_models(cached=True) == ["all-minilm-l6-v2"]
    assert registry.PYTORCH_PRETRAINED_BERT_CACHE == "~/.cache/torch/pytorch_pretrained_bert"
    assert [path.name for path in tmp_path.iterdir()] == ["hub"], "and nothing is written"


def test_a_download_says_which_variable_names_a_directory(server, tmp_path: Path) -> None:
    url = server.add("/x.bin", b"x")
    with pytest.raises(CacheError, match="no home directory is known") as caught:
        cached_path(url)
    assert "PYTORCH_PRETRAINED_BERT_CACHE" in str(caught.value.hint)
    with pytest.raises(CacheError, match="no home directory is known"):
        cached_path(url, cache_dir="~/mine")
    with pytest.raises(NotCachedError, match="caches of other programs"):
        cached_path(url, offline=True)
    assert cached_path(url, cache_dir=tmp_path / "mine").read_bytes() == b"x"
    assert not (tmp_path / "~").exists()


def test_nothing_can_be_in_the_cache_that_is_nowhere() -> None:
    cache = Cache.at()
    assert cache.directory == NOWHERE
    assert cache.find("https://example.org/x") is None
    assert not list(cache.records())
    with pytest.raises(CacheError, match="no home directory"):
        cache.new_file("https://example.org/x")
    with pytest.raises(CacheError, match="no home directory"):
        cache_directory()


def test_an_explicit_directory_in_no_home_is_refused() -> None:
    with pytest.raises(CacheError, match="~/mine"):
        Cache.at("~/mine")
