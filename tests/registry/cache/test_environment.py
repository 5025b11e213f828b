"""What the environment says, being offline, and progress bars of downloads."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, FileSpec, hookimpl
from registry.cache.cache import Cache
from registry.cache.directories import cache_directory, is_anything_cached
from registry.download.fetch import Policy, cached_path, fetch
from registry.errors import ConflictingOptionsError, NotCachedError
from registry.sources.files import Files
from registry.sources.resolve import resolve

BODY = bytes(range(256)) * 4096


def test_empty_means_unset_and_a_tilde_is_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PYTORCH_PRETRAINED_BERT_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")
    assert cache_directory() == tmp_path / ".cache/torch/pytorch_pretrained_bert"
    monkeypatch.setenv("TORCH_HOME", "~/torch")
    assert cache_directory() == tmp_path / "torch/pytorch_pretrained_bert"
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", "relative")
    assert cache_directory() == Path("relative")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", "~/models")
    assert cache_directory().is_absolute(), "without HOME, the system says where home is"


def test_the_environment_counts_when_a_file_is_asked_for(server, monkeypatch, tmp_path: Path) -> None:
    url = server.add("/model.bin", BODY)
    for name in ("first", "second"):
        monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / name))
        assert tmp_path / name in cached_path(url).parents
        assert str(tmp_path / name) == registry.PYTORCH_PRETRAINED_BERT_CACHE


def test_an_update_offline_is_a_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be updated offline"):
        Policy(update=True, offline=True)
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    with pytest.raises(ConflictingOptionsError):
        registry.pull("bert-base-uncased", update=True)


def test_the_cache_may_be_named_in_any_way(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.add("/model.bin", BODY)
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "a", str(tmp_path / "b"), os.fsencode(tmp_path / "c"), "./pretrained_model_0", None):
        assert cached_path(url, cache_dir=name).read_bytes() == BODY
    assert (tmp_path / "pretrained_model_0/.registry").is_dir()


def test_the_folder_of_temporaries_does_not_matter(server, cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert fetch(server.add("/model.bin", BODY), Policy()).read_bytes() == BODY


# --- Offline ----------------------------------------------------------------------------------------------------------


def declare(server, name: str = "toy") -> Card:
    """A model on the hub, of two files."""
    files = tuple(
        FileSpec(role=role, filename=file, urls=(f"hub:me/{name}/{file}",))
        for role, file in (("config", "config.json"), ("weights", "model.safetensors"))
    )
    card = Card(name=name, architecture="toy", task="base", files=files)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), name)
    server.hub(f"me/{name}", {"config.json": b"{}", "model.safetensors": b"\x08" + bytes(7)})
    return card


@pytest.mark.parametrize("how", ["argument", "REGISTRY_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_no_socket_is_opened_and_the_error_says_what_is_missing(server, audited, monkeypatch, how: str) -> None:
    declare(server)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    if how != "argument":
        monkeypatch.setenv(how, "1")

    def forbidden(*_: object, **_more: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    with audited() as events, pytest.raises(NotCachedError) as error:
        Files(resolve("toy"), Policy(offline=True if how == "argument" else None)).of()
    assert not events
    text = f"{error.value}\n{error.value.details}"
    for part in (
        "config.json",
        "model.safetensors",
        "hub:me/toy/config.json",
        str(cache_directory()),
        "registry pull toy",
    ):
        assert part in text


def test_what_was_used_once_opens_no_socket_and_writes_nothing(server, audited, monkeypatch) -> None:
    card = declare(server)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    paths = Files(resolve("toy")).of()
    hub = Files(resolve("hub:me/toy")).of()
    server.close()
    with audited() as events:
        assert Files(resolve("toy")).of() == paths
        assert Files(resolve("hub:me/toy")).of() == hub
        assert registry.list_models(cached=True, architecture="toy") == [card.name]
    assert events == []


def test_what_is_cached_is_listed_as_cached(server, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    declare(server)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    assert registry.list_models(cached=True, architecture="toy") == []
    Files(resolve("toy")).of("config")
    assert registry.list_models(cached=True, architecture="toy") == [], "half a model is none"
    path = Files(resolve("toy")).of()["model.safetensors"]
    assert registry.list_models(cached=True, architecture="toy") == ["toy"]
    path.unlink()
    assert registry.list_models(cached=True, architecture="toy") == []


@pytest.mark.parametrize(
    ("file", "is_cached"),
    [
        (None, False),
        (".registry/v1/locks/0.lock", False),
        (".registry/v1/partial/0.digests", False),
        (".registry/v1/refs/0.json", True),
        (".registry/v1/blobs/00/0", True),
        ("0", True),  # of pytorch-pretrained-bert
    ],
)
def test_a_cache_that_holds_no_file_of_a_model_is_not_looked_through(
    file: str | None, is_cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    cache = tmp_path / "cache"
    if file is not None:
        path = cache / file
        path.parent.mkdir(parents=True)
        path.touch()
    assert is_anything_cached(cache) == is_cached


def test_listing_what_is_cached_imports_neither_torch_nor_requests() -> None:
    code = "import registry, sys; registry.list_models(cached=True); print({'torch', 'requests'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# --- Progress ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    def write(self, _text: str) -> int:
        raise OSError("gone")


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [
        (Terminal(), None, True),
        (Terminal(), False, False),
        (io.StringIO(), None, False),
        (io.StringIO(), True, True),
        (Broken(), None, False),
        (None, None, False),
    ],
)
def test_a_bar_is_shown_on_a_terminal_and_can_break_nothing(
    server, cache, monkeypatch, stream, progress, shown
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert fetch(server.add("/model.bin", BODY), Policy(progress=progress)).read_bytes() == BODY
    if isinstance(stream, io.StringIO) and not isinstance(stream, Broken):
        assert ("model.bin" in stream.getvalue()) == shown
