from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, FileSpec, discovery, hookimpl
from registry.cache.directories import cache_directory
from registry.errors import (
    FetchError,
    IntegrityError,
    MissingFileError,
    NotCachedError,
    UnknownOptionError,
)
from registry.sources.card import CardSource, is_local
from registry.sources.files import Files
from registry.sources.packages import package_path
from registry.sources.resolve import resolve

Install = Callable[..., Path]


@pytest.fixture
def carrier(install: Install) -> Path:
    """A distribution that carries a small model in the directory ``carrier/model``."""
    site = install("carrier-dist", entry_points="")
    model = site / "carrier" / "model"
    (model / "inner").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "vocab.txt").write_text("[UNK]\n")
    (model / "inner" / "deep.txt").write_text("")
    (site / "carrier_dist-1.0.dist-info" / "RECORD").write_text(
        "carrier/model/config.json,,\ncarrier/model/vocab.txt,,\ncarrier/model/inner/deep.txt,,\n"
        "carrier/model/gone.txt,,\n../bin/tool,,\n"
    )
    return model


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")


def declare(*files: FileSpec, **fields: object) -> Card:
    """The card of the model ``toy``, known from now on."""
    card = Card(name="toy", architecture="toy", task="base", files=files, **fields)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    return card


def config(*urls: str, **fields: object) -> FileSpec:
    return FileSpec(role="config", filename="config.json", urls=urls, **fields)


def vocab(*urls: str, **fields: object) -> FileSpec:
    return FileSpec(role="vocab", filename="vocab.txt", urls=urls, **fields)


# --- Directories and files --------------------------------------------------------------------------------------------


def test_a_directory_gives_its_files_whatever_the_roles(carrier: Path) -> None:
    expected = {"config.json": carrier / "config.json", "vocab.txt": carrier / "vocab.txt"}
    assert Files(resolve(carrier)).of() == expected
    assert Files(resolve(carrier)).of("config") == expected


def test_a_file_gives_itself(carrier: Path) -> None:
    assert Files(resolve(carrier / "vocab.txt")).of() == {"vocab.txt": carrier / "vocab.txt"}


def test_a_link_into_a_cache_counts_as_the_file_it_names(tmp_path: Path, carrier: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "config.json").symlink_to(carrier / "config.json")
    assert list(Files(resolve(tmp_path / "snapshot")).of()) == ["config.json"]


def test_what_only_a_network_has_is_not_had_offline() -> None:
    for name in ("hub:org/name", "org/name", "https://example.org/model.bin", "https://example.org/directory"):
        with pytest.raises(NotCachedError, match="the variable REGISTRY_OFFLINE forbids downloads"):
            Files(resolve(name)).of()


def test_weights_are_not_fetched_to_look_for_a_model_inside(tmp_path: Path) -> None:
    weights, one = (
        FileSpec(role="weights", filename=name, urls=(f"https://example.org/{name}",))
        for name in ("model.safetensors", "model.one")
    )
    declare(weights)
    assert Files(resolve("toy")).whole() == {}
    discovery.unregister("toys")
    declare(one)
    with pytest.raises(NotCachedError):
        Files(resolve("toy")).whole()
    for name in ("model.safetensors", "model.one"):  # what is here costs nothing
        (tmp_path / name).touch()
    assert len(Files(resolve(tmp_path)).whole()) == 2


# --- Packages ---------------------------------------------------------------------------------------------------------


def test_a_package_gives_its_files(carrier: Path) -> None:
    assert package_path("pkg:carrier-dist/carrier/model/config.json") == carrier / "config.json"
    assert package_path("pkg:Carrier_Dist/carrier/model/") == carrier
    assert list(Files(resolve("pkg:carrier-dist/carrier/model")).of()) == ["config.json", "vocab.txt"]
    assert list(Files(resolve("pkg:carrier-dist/carrier/model/vocab.txt")).of()) == ["vocab.txt"]


@pytest.mark.parametrize(
    "inner", ["../x", "carrier/../../x", "../bin/tool", "/etc/passwd", "a//b", ".", "a\\..\\b", ""]
)
def test_a_package_gives_nothing_that_lies_outside(carrier: Path, inner: str) -> None:
    with pytest.raises(FetchError, match="not a plain path"):
        package_path(f"pkg:carrier-dist/{inner}")


def test_what_a_package_does_not_have_is_missing(carrier: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"'nowhere-dist' is not installed.\n`pip install --no-deps nowhere-dist`"
    ):
        package_path("pkg:nowhere-dist/a")
    for name in ("con", "gone.txt"):  # a name is not a prefix; and what was deleted is not there, though it is listed
        with pytest.raises(MissingFileError, match=r"not among the files of carrier-dist 1.0"):
            package_path(f"pkg:carrier-dist/carrier/model/{name}")


# --- Cards ------------------------------------------------------------------------------------------------------------


def test_a_card_gives_the_files_of_the_roles_asked_for(carrier: Path) -> None:
    card = declare(
        config("pkg:carrier-dist/carrier/model/config.json", size=2),
        vocab("pkg:nowhere-dist/vocab.txt", (carrier / "vocab.txt").as_uri(), "hub:me/toy/vocab.txt"),
    )
    resolution = resolve("toy")
    assert Files(resolution).of() == {"config.json": carrier / "config.json", "vocab.txt": carrier / "vocab.txt"}
    assert list(Files(resolution).of("vocab")) == ["vocab.txt"]
    assert Files(resolution).of("merges") == {}
    assert is_local(card)


def test_a_file_of_the_wrong_size_is_refused(carrier: Path) -> None:
    card = declare(config("pkg:carrier-dist/carrier/model/config.json", size=3))
    with pytest.raises(IntegrityError, match=r"config.json has 2 bytes, not the expected 3"):
        Files(resolve("toy")).of()
    assert not is_local(card)


def test_missing_files_are_named_with_the_way_to_get_them(carrier: Path) -> None:
    card = declare(
        config("pkg:carrier-dist/carrier/model/config.json"),
        vocab("pkg:nowhere-dist/vocab.txt", "hub:me/toy/vocab.txt"),
    )
    with pytest.raises(NotCachedError) as error:
        Files(resolve("toy")).of()
    assert str(error.value).splitlines() == [
        "model 'toy' is not completely in the cache, and the variable REGISTRY_OFFLINE forbids downloads.",
        "Wanted: vocab.txt of model 'toy'.",
        "`pip install --no-deps nowhere-dist` brings what is missing. Where there is a network, `registry pull toy` "
        "fills a cache that can be copied here.",
    ]
    assert str(error.value.details).splitlines() == [
        "Tried: pkg:nowhere-dist/vocab.txt, hub:me/toy/vocab.txt.",
        f"The cache is {cache_directory()}.",
    ]
    assert list(Files(resolve("toy")).of("config")) == ["config.json"]
    assert not is_local(card)


def test_what_no_network_has_is_missing_for_good(tmp_path: Path) -> None:
    declare(config("file:///nowhere/config.json"))
    with pytest.raises(
        MissingFileError, match=r"Wanted: config.json of model 'toy'.\nTried: file:///nowhere/config.json"
    ):
        Files(resolve("toy")).of()


def test_a_card_that_has_only_an_archive_is_not_had_offline() -> None:
    card = declare(archives=("https://example.org/toy.tar.gz",))
    with pytest.raises(FetchError, match="Wanted: the archive of model 'toy'") as error:
        Files(resolve("toy")).of()
    assert "https://example.org/toy.tar.gz" in str(error.value.details)
    assert not is_local(card)


def test_only_what_the_hub_has_can_be_had_at_a_revision(carrier: Path) -> None:
    declare(config("pkg:carrier-dist/carrier/model/config.json"))
    with pytest.raises(UnknownOptionError, match="only the hub has revisions"):
        Files(resolve("toy", revision="v1")).of()


# --- The cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "{home}/.cache/torch/pytorch_pretrained_bert"),
        ({"ENV_XDG_CACHE_HOME": "/x"}, "/x/torch/pytorch_pretrained_bert"),
        ({"ENV_XDG_CACHE_HOME": "/x", "XDG_CACHE_HOME": "/y"}, "/y/torch/pytorch_pretrained_bert"),
        ({"XDG_CACHE_HOME": "/y", "ENV_TORCH_HOME": "/t"}, "/t/pytorch_pretrained_bert"),
        ({"ENV_TORCH_HOME": "/t", "TORCH_HOME": "~/u"}, "{home}/u/pytorch_pretrained_bert"),
        ({"TORCH_HOME": "/u", "PYTORCH_PRETRAINED_BERT_CACHE": "~/cache"}, "{home}/cache"),
        ({"TORCH_HOME": "", "XDG_CACHE_HOME": "", "PYTORCH_PRETRAINED_BERT_CACHE": ""},
         "{home}/.cache/torch/pytorch_pretrained_bert"),
    ],
)  # fmt: skip
def test_the_cache_lies_where_the_environment_says_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    for name in (
        "PYTORCH_PRETRAINED_BERT_CACHE",
        "TORCH_HOME",
        "ENV_TORCH_HOME",
        "XDG_CACHE_HOME",
        "ENV_XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_directory()) == expected.format(home=tmp_path)
    assert expected.format(home=tmp_path) == registry.PYTORCH_PRETRAINED_BERT_CACHE
    assert cache_directory("~/mine") == tmp_path / "mine"
    assert cache_directory(Path("./pretrained_model_0")) == Path("pretrained_model_0")


def test_of_several_files_with_one_role_the_first_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"12")
    names = ("model.safetensors", "pytorch_model.bin", "older.bin")
    files = tuple(FileSpec(role="weights", filename=name, urls=(f"file:{tmp_path / name}",)) for name in names)
    card = Card(name="x", architecture="x", task="base", files=files)
    found = Files(CardSource(asked="x", rule="", card=card)).of()
    assert found == {"pytorch_model.bin": tmp_path / "pytorch_model.bin"}


# --- What an editable installation carries ----------------------------------------------------------------------------


def editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct_url: str | None) -> Path:
    """Pretend that ``pip install -e`` installed a project, whose package has a file; returns the project."""
    project, site = tmp_path / "project", tmp_path / "site"
    (project / "src" / "soft_toy" / "files").mkdir(parents=True)
    (project / "src" / "soft_toy" / "__init__.py").write_text("raise AssertionError('imported')")
    (project / "src" / "soft_toy" / "files" / "vocab.txt").write_text("a\n")
    info = site / "soft_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: soft-toy\nVersion: 1.0\n")
    if direct_url is not None:
        (info / "direct_url.json").write_text(direct_url.replace("PROJECT", project.as_uri()))
    monkeypatch.syspath_prepend(project / "src")
    monkeypatch.syspath_prepend(site)
    return project


EDITABLE = '{"dir_info": {"editable": true}, "url": "PROJECT"}'


def test_a_file_of_an_editable_installation_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = editable(tmp_path, monkeypatch, EDITABLE)
    found = package_path("pkg:soft-toy/soft_toy/files/vocab.txt")
    assert found == (project / "src" / "soft_toy" / "files" / "vocab.txt").resolve()
    assert package_path("pkg:soft-toy/soft_toy/files") == found.parent


@pytest.mark.parametrize(
    ("direct_url", "inner"),
    [
        (EDITABLE, "soft_toy/files/merges.txt"),
        (EDITABLE, "no_such_package/vocab.txt"),
        (EDITABLE, "json/decoder.py"),
        (None, "soft_toy/files/vocab.txt"),
        ('{"dir_info": {}, "url": "PROJECT"}', "soft_toy/files/vocab.txt"),
        ("[]", "soft_toy/files/vocab.txt"),
        ("{", "soft_toy/files/vocab.txt"),
        ('{"dir_info": {"editable": true}}', "soft_toy/files/vocab.txt"),
    ],
)
def test_what_an_editable_installation_does_not_carry_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct_url: str | None, inner: str
) -> None:
    editable(tmp_path, monkeypatch, direct_url)
    with pytest.raises(MissingFileError, match=r"not among the files of soft-toy 1\.0"):
        package_path(f"pkg:soft-toy/{inner}")
