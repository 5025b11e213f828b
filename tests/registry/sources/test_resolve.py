import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, hookimpl
from registry.errors import MissingFileError, RegistryWarning, UnknownModelError, UnknownOptionError
from registry.sources.resolve import resolve
from registry.sources.source import Source

TOY = Card(name="toy", architecture="toy", task="base", files=(), aliases=("me/Toy-Uncased", "toy-small"))


@pytest.fixture(autouse=True)
def _toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards, and a directory of our own to work in."""
    other = Card(name="toy-large", architecture="toy", task="base", files=())
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (TOY, other))), "toys")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def meaning(found: Source) -> tuple[str, str | None]:
    return found.kind, found.url or (str(found.path) if found.path else None)


@pytest.mark.parametrize(
    ("asked", "kind", "url"),
    [
        ("https://example.org/model.bin", "url", None),
        ("HTTPS://example.org/model.bin", "url", None),
        ("http://example.org/model.bin", "url", None),
        ("https://example.org/bert.tar.gz", "archive", None),
        ("https://example.org/bert.tar.gz?key=1", "archive", None),
        ("pkg:some-dist/some/path", "package", None),
        ("hub:org/name", "hub", None),
        ("hub:org/name@v1.0", "hub", "hub:org/name"),
        ("org/name", "hub", "hub:org/name"),
        ("org/name@refs/pr/1", "hub", "hub:org/name"),
    ],
)
def test_a_url_is_recognized_by_its_form(asked: str, kind: str, url: str | None) -> None:
    assert meaning(resolve(asked)) == (kind, url or asked)


def test_a_repository_may_be_asked_at_a_revision() -> None:
    assert resolve("hub:org/name").revision is None
    assert resolve("hub:org/name@v1").revision == "v1"
    assert resolve("org/name", revision="v1").revision == "v1"
    assert resolve("org/name@v1", revision="v1").revision == "v1"
    with pytest.raises(UnknownOptionError, match="'v1', and revision='v2' another"):
        resolve("org/name@v1", revision="v2")


def test_what_has_no_revisions_refuses_one(tmp_path: Path) -> None:
    assert resolve("toy", revision="v1").revision == "v1"
    with pytest.raises(UnknownOptionError, match="has no revisions"):
        resolve(tmp_path, revision="v1")


@pytest.mark.parametrize("asked", ["./model", "~/model", "file:model", "file:./model", "model"])
def test_a_directory_may_be_written_in_many_ways(tmp_path: Path, asked: str) -> None:
    (tmp_path / "model").mkdir()
    found = resolve(asked)
    assert found.kind == "directory"
    assert found.path is not None
    assert found.path.resolve() == tmp_path / "model"


def test_paths_are_taken_whatever_their_type(tmp_path: Path) -> None:
    (tmp_path / "my model").mkdir()
    weights = tmp_path / "my model" / "weights.bin"
    weights.touch()
    assert meaning(resolve(tmp_path / "my model")) == ("directory", f"{tmp_path}/my model")
    assert meaning(resolve(f"{tmp_path}/my model/weights.bin")) == ("file", str(weights))
    assert meaning(resolve(f"file://{tmp_path}/my%20model/weights.bin")) == ("file", str(weights))
    weights.rename(tmp_path / "all.tar.gz")
    assert resolve("./all.tar.gz").kind == "archive"
    assert meaning(resolve(Path("my model"))) == ("directory", "my model")


@pytest.mark.parametrize("asked", ["./modle", "../nope", "/nope", "~/nope", "file:nope", "file:///nope", "C:\\nope"])
def test_a_path_that_leads_nowhere_is_a_missing_file(tmp_path: Path, asked: str) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(MissingFileError, match="read as a path, since it") as error:
        resolve(asked)
    assert ("Did you mean 'model'?" in str(error.value)) == (asked == "./modle")


def test_a_path_object_is_never_a_name() -> None:
    with pytest.raises(MissingFileError, match="since it is a Path"):
        resolve(Path("toy"))


@pytest.mark.parametrize("asked", ["toy", "me/Toy-Uncased", "toy-small"])
def test_a_card_is_found_by_its_name_and_its_aliases(asked: str) -> None:
    found = resolve(asked)
    assert (found.kind, found.card, found.asked) == ("card", TOY, asked)
    assert str(found) == "model 'toy'"


def test_a_card_wins_over_a_directory_of_its_name_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    with pytest.warns(RegistryWarning, match=r"Write '\./toy' for the other"):
        assert resolve("toy").card is TOY
    assert resolve("./toy").kind == "directory"
    assert resolve("file:toy").kind == "directory"


def test_a_directory_wins_over_a_repository(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert resolve("org/name").kind == "directory"
    assert resolve("hub:org/name").kind == "hub"


def test_an_unknown_name_is_answered_with_suggestions() -> None:
    with registry.only("toys"), pytest.raises(UnknownModelError) as error:
        resolve("Toy_Larg")
    assert str(error.value).splitlines() == [
        "no model is named 'Toy_Larg'. Did you mean 'toy-large'?",
        "It was read as a name, since no such file or directory exists; `registry list` prints the 2 known names, "
        "of toy, and models of the hub are named organization/name.",
        *[line for line in str(error.value).splitlines() if line.startswith("Disabled plugins")],
    ]
    assert error.value.suggestions == ("toy-large",)


@pytest.mark.parametrize("asked", ["", " ", "a/b/c", "toy\0", "x" * 5000, "toy@", "\ud800", "org/", "org/na me", "?"])
def test_what_nothing_has_is_never_none(asked: str) -> None:
    with pytest.raises(UnknownModelError):
        resolve(asked)


@pytest.mark.parametrize("asked", ["s3://bucket/model", "ftp://x/y", "hub:toy", "hub:a/b/c", "pkg:some-dist", "pkg:/x"])
def test_a_url_of_a_wrong_form_is_refused_with_the_right_one(asked: str) -> None:
    with pytest.raises(UnknownModelError, match=r"URLs begin with|is not of the form"):
        resolve(asked)


@pytest.mark.parametrize("asked", [None, 7, b"toy", ["toy"]])
def test_what_is_neither_text_nor_a_path_is_a_type_error(asked: object) -> None:
    with pytest.raises(TypeError, match="named by a str or a Path"):
        resolve(asked)


@pytest.mark.skipif(os.name == "nt", reason="no devices there")
def test_a_device_is_no_model() -> None:
    with pytest.raises(MissingFileError, match="no file or directory '/dev/null'"):
        resolve("/dev/null")
