"""Size and sha256 of files, and ETags that are digests."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from registry.files.digests import FileDigest, sha256_of
from registry.files.etags import matches_etag

DATA = b"some bytes"
SHA256 = hashlib.sha256(DATA).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def test_a_digest_is_that_of_the_bytes(path: Path) -> None:
    assert FileDigest.of(path) == FileDigest(len(DATA), SHA256)
    assert sha256_of(path) == SHA256


def test_a_digest_comes_back_from_json() -> None:
    digest = FileDigest(5, SHA256)
    assert digest.to_json() == {"size": 5, "sha256": SHA256}
    assert FileDigest.from_json(digest.to_json() | {"more": 1}) == digest


@pytest.mark.parametrize(
    "keys",
    [{}, {"size": 5}, {"size": "5", "sha256": SHA256}, {"size": -1, "sha256": SHA256}, {"size": 5, "sha256": "x"}, 3],
)
def test_what_is_no_digest_is_refused(keys: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        FileDigest.from_json(keys)


@pytest.mark.parametrize(
    ("etag", "same", "other"),
    [
        (SHA256, True, False),
        (GIT, True, False),
        (MD5, True, None),
        (f"{MD5}-2", None, None),
        (SHA256.upper(), None, None),
        ("v1", None, None),
        ("", None, None),
    ],
)
def test_etags_prove_what_they_can(path: Path, etag: str, same: bool | None, other: bool | None) -> None:
    assert matches_etag(etag, path) is same
    path.write_bytes(DATA[::-1])
    assert matches_etag(etag, path) is other


def test_a_file_whose_sha256_is_known_is_not_read(tmp_path: Path) -> None:
    assert matches_etag(SHA256, tmp_path / "nowhere", sha256=SHA256) is True
    assert matches_etag(SHA256, tmp_path / "nowhere", sha256="0" * 64) is False
