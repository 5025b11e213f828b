"""The URLs of the hub: their one spelling, and what is read from them."""

import pytest

from registry.download import hub
from registry.errors import UnsafeURLError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hub:me/toy/config.json", "https://huggingface.co/me/toy/resolve/main/config.json"),
        ("hub:me/toy@v1.0/a/b.bin", "https://huggingface.co/me/toy/resolve/v1.0/a/b.bin"),
        ("hub:me/toy@refs/pr/1/x.txt", "https://huggingface.co/me/toy/resolve/refs%2Fpr%2F1/x.txt"),
        ("HTTPS://huggingface.co/me/toy/resolve/main/x y", "https://huggingface.co/me/toy/resolve/main/x%20y"),
        ("https://example.org/x", "https://example.org/x"),
    ],
)
def test_a_url_has_one_spelling(url: str, expected: str) -> None:
    assert hub.canonical(url) == expected


@pytest.mark.parametrize("url", ["hub:toy/x", "hub:", "hub:me/toy", "hub:me/toy/", "s3://a/b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UnsafeURLError):
        hub.canonical(url)


def test_a_url_of_the_hub_is_read_back() -> None:
    url = hub.canonical(f"hub:me/toy@{COMMIT}/a/b.bin")
    file = hub.hub_file(url)
    assert file == ("me/toy", COMMIT, "a/b.bin")
    assert (file.url, file.commit) == (url, COMMIT)
    assert hub.hub_file(hub.canonical("hub:me/toy/x")).commit is None
    assert hub.hub_file("https://huggingface.co/bert/resolve/main/x") == ("bert", "main", "x")
    assert hub.hub_file("https://huggingface.co/me/toy/resolve/refs/pr/1/x") == ("me/toy", "refs/pr/1", "x")
    for other in ("https://example.org/me/toy/resolve/main/x", "https://huggingface.co/api/models/me/toy"):
        assert hub.hub_file(other) is None


def test_only_urls_of_the_hub_have_revisions() -> None:
    assert hub.at_revision("hub:me/toy/x%20y", "refs/pr/1") == (
        "https://huggingface.co/me/toy/resolve/refs%2Fpr%2F1/x%20y"
    )
    assert hub.at_revision("https://example.org/me/toy/resolve/main/x", "v1") is None
    assert hub.at_revision("pkg:dist/x", "v1") is None


def test_a_repository_lies_below_its_urls() -> None:
    files, listings = hub.repository_urls("me/toy")
    assert hub.canonical("hub:me/toy@v1/x").startswith(f"{files}/")
    assert hub.listing_url("me/toy", "refs/pr/1") == f"{listings}/refs%2Fpr%2F1"


def test_a_recorded_url_is_in_its_one_spelling_and_without_secrets() -> None:
    assert hub.recorded("HTTPS://me:secret@Example.org/x?key=secret") == "https://example.org/x?key=..."
    assert hub.recorded("hub:me/toy/x") == "https://huggingface.co/me/toy/resolve/main/x"
    assert hub.recorded("pkg:dist/x") == "pkg:dist/x"
