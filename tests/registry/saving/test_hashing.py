"""Hashing the files of a model: at the same time, once for several processes, and continued after an interruption."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from registry.cache import ownership
from registry.cache.cache import Cache
from registry.saving import hashing
from registry.saving.hashing import digests_of

CONTENTS = {"first": b"some weights", "second": b"more weights", "third": b"the rest"}


class Hashed:
    """Counts files that are hashed; fails where it is told to."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.fails: str | None = None
        self._hash = hashing._sha256

    def __call__(self, path: Path, *rest: Any) -> str:
        if path.name == self.fails:
            raise OSError("the process is interrupted")
        self.names[path.name] += 1
        return self._hash(path, *rest)

    def new(self) -> list[str]:
        """The files that were hashed since this was last called."""
        found, self.names = sorted(self.names.elements()), Counter()
        return found


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in CONTENTS}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.at(tmp_path / "cache")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Hashed:
    """Every file is large, and old enough."""
    monkeypatch.setattr(hashing, "LARGE", 1)
    monkeypatch.setattr(hashing, "SETTLED", 0.0)
    counts = Hashed()
    monkeypatch.setattr(hashing, "_sha256", counts)
    return counts


def run(paths: dict[str, Path], cache: Cache, *, resume: bool = True) -> None:
    found = digests_of(paths, cache, resume=resume, progress=False)
    assert found == {name: sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def interrupt(paths: dict[str, Path], cache: Cache, hashed: Hashed) -> None:
    """Hash all files but the last."""
    hashed.fails = "third"
    with pytest.raises(OSError, match="interrupted"):
        run(paths, cache)
    hashed.fails = None
    assert hashed.new() == ["first", "second"]


def test_files_are_hashed_at_the_same_time(
    paths: dict[str, Path], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them, before = Barrier(3), hashing._sha256

    def meeting(*arguments: Any) -> str:
        all_of_them.wait(timeout=10)
        return before(*arguments)

    monkeypatch.setattr(hashing, "_sha256", meeting)
    run(paths, cache)
    assert not cache.directory.exists()  # nothing is noted of small files


def test_an_interrupted_call_is_continued_and_a_complete_one_is_not(
    paths: dict[str, Path], cache: Cache, hashed: Hashed
) -> None:
    interrupt(paths, cache, hashed)
    run(paths, cache)
    assert hashed.new() == ["third"]
    run(paths, cache)
    assert hashed.new() == ["first", "second", "third"]
    interrupt(paths, cache, hashed)
    run(paths, cache, resume=False)
    assert hashed.new() == ["first", "second", "third"]


def test_a_change_that_was_meant_to_be_hidden_is_found(paths: dict[str, Path], cache: Cache, hashed: Hashed) -> None:
    interrupt(paths, cache, hashed)
    before = paths["first"].stat()
    paths["first"].write_bytes(CONTENTS["first"][::-1])
    os.utime(paths["first"], ns=(before.st_atime_ns, before.st_mtime_ns))
    run(paths, cache)
    assert hashed.new() == ["first", "third"]


def test_what_just_changed_and_what_was_noted_long_ago_is_hashed_again(
    paths: dict[str, Path], cache: Cache, hashed: Hashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(hashing, "SETTLED", 60.0)
        interrupt(paths, cache, hashed)
    run(paths, cache)
    assert hashed.new() == ["first", "second", "third"]
    interrupt(paths, cache, hashed)
    monkeypatch.setattr(hashing, "LASTS", 0)
    run(paths, cache)
    assert hashed.new() == ["first", "second", "third"]


def test_processes_that_begin_together_hash_each_file_once(
    paths: dict[str, Path], cache: Cache, hashed: Hashed
) -> None:
    all_of_them, before = Barrier(3), hashing.key

    def begun(text: str) -> str:
        all_of_them.wait(timeout=10)
        return before(text)

    with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor() as pool:
        patched.setattr(hashing, "key", begun)
        list(pool.map(lambda _: run(paths, cache), range(3)))
    assert hashed.new() == ["first", "second", "third"]


@pytest.mark.parametrize(
    "notes", [b"", b"{}", b"[]", b'{"complete": false, "files": {"a": 1}}', b"\xff" * 9, b"[" * 99999]
)
def test_damaged_notes_are_no_notes(notes: bytes, paths: dict[str, Path], cache: Cache, hashed: Hashed) -> None:
    interrupt(paths, cache, hashed)
    (kept,) = (cache.home / "partial").glob("*.digests")
    kept.write_bytes(notes)
    run(paths, cache)
    assert hashed.new() == ["first", "second", "third"]


def test_notes_that_anybody_could_have_put_there_are_not_taken(
    paths: dict[str, Path], cache: Cache, hashed: Hashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(paths, cache, hashed)
    (cache.home / "partial").chmod(0o777)
    monkeypatch.setattr(ownership, "trusted_users", lambda: (os.stat(paths["first"]).st_uid + 1,))
    run(paths, cache)
    assert hashed.new() == ["first", "second", "third"]


def test_a_cache_that_cannot_be_written_needs_no_notes(paths: dict[str, Path], tmp_path: Path, hashed: Hashed) -> None:
    (tmp_path / "file").touch()
    run(paths, Cache.at(tmp_path / "file"))
    assert hashed.new() == ["first", "second", "third"]
