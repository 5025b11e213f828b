"""Records check themselves where they are made: URLs of cards, archives and their digests, the hub."""

import pytest

from registry.download.hub import canonical
from registry.records import Card, FileSpec

DIGEST = "0123456789abcdef" * 4


def card(**fields: object) -> Card:
    return Card(**{"name": "toy", "architecture": "toy", "task": "base", "files": (), **fields})


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://example.org/toy{suffix}" for suffix in (".tar.gz", ".tgz", ".zip")),
        *(f"{scheme}://example.org/toy.zip#sha256={DIGEST}" for scheme in ("http", "https")),
    ],
)
def test_an_archive_of_a_card_may_be_of_any_kind_that_is_unpacked(url: str) -> None:
    assert card(archives=[url]).archives == (url,)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.org/toy.tar.gz", "can be modified in transit: append '#sha256='"),
        ("https://example.org/toy.tar.bz2", r"the https: URL of a \.tar\.gz, \.tgz or \.zip"),
        ("ftp://example.org/toy.zip", "the https: URL"),
        ("https://example.org/toy.zip#md5=0", "64 lower-case hex digits"),
        (f"http://example.org/toy.zip#sha256={DIGEST.upper()}", "64 lower-case hex digits"),
        (f"https://example.org/toy.zip#sha256={DIGEST}&x=1", "64 lower-case hex digits"),
        ("https://example.org/toy.zip#", "64 lower-case hex digits"),
    ],
)
def test_an_archive_that_could_not_be_fetched_safely_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        card(archives=(url,))


def test_plain_http_needs_a_digest() -> None:
    with pytest.raises(ValueError, match="declare its sha256"):
        FileSpec(role="weights", filename="a.bin", urls=("http://example.org/a.bin",))
    FileSpec(role="weights", filename="a.bin", urls=("http://example.org/a.bin",), sha256=DIGEST)


FILES = (
    FileSpec(role="config", filename="config.json"),
    FileSpec(
        role="weights",
        filename="model.safetensors",
        urls=("https://example.org/w", "pkg:toy/w", "http://example.org/w", "file:///srv/w"),
        sha256=DIGEST,
    ),
)


def test_files_on_the_hub_are_tried_after_this_disk_and_before_all_others() -> None:
    made = Card.on_hub("me/Toy-1.0", FILES, revision="v1.0", name="toy", architecture="toy", task="base")
    assert [file.urls for file in made.files] == [
        ("hub:me/Toy-1.0@v1.0/config.json",),
        (
            *("pkg:toy/w", "file:///srv/w", "hub:me/Toy-1.0@v1.0/model.safetensors"),
            *("https://example.org/w", "http://example.org/w"),
        ),
    ]
    assert [file.sha256 for file in made.files] == [None, DIGEST]
    assert canonical(made.files[0].urls[0]) == "https://huggingface.co/me/Toy-1.0/resolve/v1.0/config.json"
    assert (made.aliases, made.source) == (("me/Toy-1.0",), "https://huggingface.co/me/Toy-1.0")


def test_a_card_on_the_hub_takes_the_main_branch_and_all_fields_of_a_card() -> None:
    fields = {"name": "toy", "architecture": "toy", "task": "base", "aliases": ("x/y",), "source": "https://x.example"}
    made = Card.on_hub("me/toy", FILES[:1], **fields, license="MIT")
    assert canonical(made.files[0].urls[0]) == "https://huggingface.co/me/toy/resolve/main/config.json"
    assert made == card(**{**fields, "files": made.files, "license": "MIT"})


@pytest.mark.parametrize(
    ("repository", "revision", "problem"),
    [
        ("toy", None, "A repository must be 'organization/name', not 'toy'"),
        ("https://huggingface.co/me/toy", None, "A repository must be"),
        ("me/toy", "refs/pr/1", "A revision must be a commit, branch or tag"),
        ("me/toy", "", "A revision must be"),
    ],
)
def test_a_repository_of_another_form_is_refused(repository: str, revision: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Card.on_hub(repository, FILES, revision=revision, name="toy", architecture="toy", task="base")
