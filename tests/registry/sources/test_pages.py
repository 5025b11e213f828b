"""URLs of the hub's pages, as people copy them from a browser."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, hookimpl
from registry.download.fetch import cached_path
from registry.download.hub import canonical
from registry.errors import UnknownModelError, UnknownOptionError
from registry.sources.resolve import resolve

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("asked", "repository", "revision"),
    [
        (f"{HUB}/org/name", "org/name", None),
        (f"{HUB}/org/name/", "org/name", None),
        (f"{HUB}/org/name?library=x#usage", "org/name", None),
        ("https://hf.co/org/name", "org/name", None),
        (f"{HUB}/org/name/tree/main", "org/name", None),
        (f"{HUB}/org/name/tree/v1.0", "org/name", "v1.0"),
        (f"{HUB}/org/name/tree/refs%2Fpr%2F1", "org/name", "refs/pr/1"),
        (f"{HUB}/org/name/tree/refs/pr/1", "org/name", "refs/pr/1"),
        (f"{HUB}/org/name/blob/main/config.json", "org/name", None),
        (f"{HUB}/org/name/blob/main/model.safetensors", "org/name", None),
        (f"{HUB}/org/name/raw/v2/vocab.txt", "org/name", "v2"),
        ("huggingface.co/org/name", "org/name", None),
        ("hf.co/org/name/tree/main", "org/name", None),
        ("org/name/", "org/name", None),
        ("hub:org/name/", "org/name", None),
    ],
)
def test_a_page_of_the_hub_means_its_model(asked: str, repository: str, revision: str | None) -> None:
    found = resolve(asked)
    assert (found.kind, found.url, found.revision) == ("hub", f"hub:{repository}", revision)


def test_the_page_of_a_first_model_means_its_card() -> None:
    card = Card(name="toy", architecture="toy", task="base", files=())
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    assert resolve(f"{HUB}/toy").card is card
    assert resolve("huggingface.co/toy/tree/main").card is card
    with pytest.raises(UnknownModelError, match="'toys'"):
        resolve(f"{HUB}/toys")


def test_an_archive_on_a_page_is_that_archive() -> None:
    found = resolve(f"{HUB}/org/name/blob/main/model.tar.gz")
    assert (found.kind, found.url) == ("archive", f"{HUB}/org/name/resolve/main/model.tar.gz")


@pytest.mark.parametrize("page", ["tree/main/0_Transformer", "blob/main/0_Transformer/config.json"])
def test_a_subdirectory_is_named_with_its_repository_and_the_url_that_loads_it(page: str) -> None:
    with pytest.raises(UnknownModelError, match=r"0_Transformer.*'org/name'") as caught:
        resolve(f"{HUB}/org/name/{page}")
    assert repr(f"{HUB}/org/name/resolve/main/0_Transformer") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (" org/name", "There is white space around it; without, it is 'org/name'"),
        ("org/name\n", "There is white space around it; without, it is 'org/name'"),
        ("bert-base-uncased ", "There is white space around it; without, it is 'bert-base-uncased'"),
        ("datasets/org/name", "'org/name' is one of its datasets, and no model"),
        ("spaces/org/name", "'org/name' is one of its spaces, and no model"),
        ("models/org/name", "is named without 'models/': 'org/name'"),
        (
            "org/name/0_Transformer",
            f"a directory in it is given by its URL: '{HUB}/org/name/resolve/main/0_Transformer'",
        ),
    ],
)
def test_what_is_nearly_a_name_of_the_hub_is_answered_with_the_name(name: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match=re.escape(f"no model is named {name!r}. ")) as caught:
        resolve(name)
    assert meant in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"{HUB}/org/name/resolve/main/model.safetensors",
        f"{HUB}/org/name/resolve/main",
        f"{HUB}/datasets/org/name",
        f"{HUB}/api/models/org/name",
        "https://example.org/org/name",
        "https://example.org/org/name/tree/main",
    ],
)
def test_other_urls_are_what_they_were(url: str) -> None:
    assert (resolve(url).kind, resolve(url).url) == ("url", url)


def test_pages_of_a_mirror_are_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    assert resolve("https://mirror.example/hub/org/name/tree/main").url == "hub:org/name"
    assert resolve("https://mirror.example/hub/org/name").kind == "url", "it may serve directories, too"


def test_a_file_is_fetched_by_the_url_of_its_page(server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert canonical(f"{HUB}/org/name/blob/main/a/b.txt") == f"{HUB}/org/name/resolve/main/a/b.txt"
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("org/name", {"config.json": b"{}"})
    assert cached_path(f"{HUB}/org/name/blob/main/config.json").read_bytes() == b"{}"


def test_a_directory_of_the_name_of_a_host_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hf.co/org").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("hf.co/org").kind == "directory"


def test_the_scheme_of_others_is_answered_with_ours() -> None:
    with pytest.raises(UnknownModelError, match="A repository of the hub is hub:org/name"):
        resolve("hf://org/name")
    with pytest.raises(UnknownModelError, match="A repository of the hub is hub:organization/name"):
        resolve("hf://datasets/org/name/train.csv")


def test_a_path_of_another_library_is_a_path(tmp_path: Path) -> None:
    class Elsewhere:
        def __init__(self, path: Path) -> None:
            self.path = path

        def __fspath__(self) -> str:
            return str(self.path)

    class InBytes(Elsewhere):
        def __fspath__(self) -> bytes:  # type: ignore[override]
            return str(self.path).encode()

    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for kind in (Elsewhere, InBytes):
        assert resolve(kind(tmp_path)).kind == "directory"  # type: ignore[arg-type]
        assert registry.load_config(kind(tmp_path), cache_dir=kind(tmp_path)).model_type == "bert"  # type: ignore[arg-type]
    assert cached_path(Elsewhere(tmp_path / "config.json")) == tmp_path / "config.json"
    with pytest.raises(UnknownOptionError, match="cache_dir="):
        registry.zoo.BertModel.from_pretrained(tmp_path, Elsewhere(tmp_path))
