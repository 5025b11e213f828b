"""A cache that several users share: nothing that everybody could have put there is used, and nothing is open to all."""

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from registry.cache import ownership, upkeep
from registry.cache.cache import Cache
from registry.download.fetch import Policy, fetch
from registry.errors import CacheError

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no users of that kind")

BODY = bytes(range(256)) * 8


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this user another one: whatever is there belongs to somebody else."""
    return lambda: monkeypatch.setattr(ownership, "trusted_users", lambda: (-1,))


@pytest.fixture
def umask() -> Iterator[Any]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def open_to_all(cache: Cache, directory: Path) -> None:
    """Let everybody write to a directory of the cache, and to no other above it."""
    for each in (cache.directory, *cache.directory.rglob("*")):
        if each.is_dir():
            each.chmod(0o755)
    directory.chmod(0o777)


@pytest.mark.parametrize("where", ["", ".registry", ".registry/v1", ".registry/v1/refs", ".registry/v1/blobs"])
def test_what_everybody_could_have_put_there_is_refused_by_name(
    server: Any, cache: Cache, another: Any, where: str
) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    open_to_all(cache, cache.directory / where)
    another()
    digest = None if "refs" in where else sha256(BODY).hexdigest()
    with pytest.raises(CacheError, match=r"belongs to another user.*everybody may write"):
        fetch(url, Policy(offline=True), sha256=digest)


def test_what_the_owner_alone_could_put_there_is_used(server: Any, cache: Cache, another: Any, tmp_path: Path) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    for each in (cache.directory, *cache.directory.rglob("*")):
        if each.is_dir():
            each.chmod(0o775)
    another()
    assert fetch(url, Policy(offline=True)).read_bytes() == BODY


def test_ones_own_files_are_used_wherever_they_are(server: Any, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    open_to_all(cache, cache.home)
    assert fetch(url, Policy(offline=True)).read_bytes() == BODY


@pytest.mark.parametrize("part", ["partial", "refs", "blobs", "locks", "unpacked"])
def test_a_planted_link_is_not_followed(cache: Cache, another: Any, tmp_path: Path, part: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter").write_text("dear")
    os.utime(precious / "letter", (1, 1))
    cache.home.mkdir(parents=True)
    (cache.home / part).symlink_to(precious)
    open_to_all(cache, cache.home)
    another()
    with pytest.raises(CacheError, match="belongs to another user"):
        cache.made(part)
    if part != "locks":
        with pytest.raises(CacheError, match="belongs to another user"):
            upkeep.prune(cache)
    assert (precious / "letter").read_text() == "dear"


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077])
def test_whatever_the_umask_nobody_but_owner_and_group_may_write(
    server: Any, cache: Cache, umask: Any, mask: int
) -> None:
    umask(mask)
    fetch(server.add("/model.bin", BODY), Policy())
    cache.unpack("0" * 64, lambda directory: (directory / "a").write_text("x") and None)
    made = [path for path in cache.home.rglob("*") if path.parent.name != "0" * 64]
    assert len(made) > 8
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & stat.S_IWOTH, path
        assert not mode & mask or path.suffix == ".lock", path


def test_a_lock_of_another_user_is_done_without(server: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    assert fetch(server.add("/model.bin", BODY), Policy()).read_bytes() == BODY
