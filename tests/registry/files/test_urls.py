"""URLs: one spelling, no secrets, and the digest that may follow one."""

from collections.abc import Callable
from typing import Any

import pytest

from registry.errors import UnsafeURLError
from registry.files.urls import credentials, is_at_or_below, name_in, normalized, redacted, redacted_in, split_digest

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Example.ORG:443/A b", "https://example.org/A%20b"),
        ("http://example.org:80", "http://example.org/"),
        ("http://example.org:8080/x?a=1#top", "http://example.org:8080/x?a=1"),
        ("https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/x", "https://xn--bcher-kva.example/x"),
        ("https://[::1]/x", "https://[::1]/x"),
    ],
)
def test_a_url_has_one_spelling(url: str, expected: str) -> None:
    assert normalized(url) == expected
    assert normalized(expected) == expected


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///x", "https://", "x", "https://a:b/c", "s3://bucket/x"])
def test_what_cannot_be_fetched_is_refused(url: str) -> None:
    with pytest.raises(UnsafeURLError):
        normalized(url)


def test_messages_hold_no_secrets() -> None:
    assert redacted("https://me:secret@a.org/x?token=secret&secret#secret") == "https://a.org/x?token=...&..."
    assert "secret" not in redacted("https://me:secret@[a/x?secret")
    assert redacted("https://me:sec/ret@a.org/x") == "https://a.org/x", "a password with a slash"


def test_urls_in_texts_are_found_in_linear_time(limits: Callable[..., Any]) -> None:
    assert redacted_in("see https://me:secret@a.org/x?secret, or b") == "see https://a.org/x?... or b"
    with limits(seconds=5):
        assert redacted_in("a" * 200_000) == "a" * 200_000


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.org/x", None),
        ("https://me@a.org/x", (b"me", b"")),
        ("https://me%40home:p%40ss%3Aw%2Frd@a.org/x", (b"me@home", b"p@ss:w/rd")),
        ("https://m%C3%A4:%ff@a.org/x", ("mä".encode(), b"\xff")),
    ],
)
def test_credentials_are_read_without_percent_codes(url: str, expected: tuple[bytes, bytes] | None) -> None:
    assert credentials(url) == expected


def test_a_digest_may_follow_a_url() -> None:
    assert split_digest("https://a.org/x.zip?b=1") == ("https://a.org/x.zip?b=1", None)
    assert split_digest(f"https://a.org/x.zip#sha256={DIGEST}") == ("https://a.org/x.zip", DIGEST)


FRAGMENTS = ("", "top", "sha256=", f"sha256={DIGEST[1:]}", DIGEST, f"sha1={DIGEST}", f"sha256={DIGEST}&x")


@pytest.mark.parametrize("fragment", [*FRAGMENTS, f"sha256={DIGEST.upper()}", f"sha256={DIGEST}#"])
def test_a_fragment_that_is_no_digest_is_refused(fragment: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        split_digest(f"https://a.org/x.zip#{fragment}")


def test_the_name_in_a_url_is_that_of_a_file() -> None:
    assert name_in("https://a.org/b/c%20d.bin?e=/f#g/h") == "c d.bin"
    assert name_in("https://a.org/b/") == ""


def test_a_url_is_at_or_below_another() -> None:
    assert is_at_or_below("https://a.org/b", ["https://a.org/b"])
    assert is_at_or_below("https://a.org/b/c", ["https://x.org", "https://a.org/b/"])
    assert not is_at_or_below("https://a.org/bc", ["https://a.org/b"])
