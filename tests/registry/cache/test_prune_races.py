"""What is found in the cache stays there while it is used, whatever is pruned, updated or put aside meanwhile."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from registry.cache import upkeep
from registry.cache.cache import Cache
from registry.cache.entry import CacheEntry
from registry.cache.unpacked import FILES, complete_files, discard_incomplete, write_manifest
from registry.download.fetch import Policy, fetch
from registry.files.atomic import STALE_AFTER
from registry.files.digests import FileDigest

ROOT = Path(__file__).parents[3]
OLD, NEW = bytes(1000), bytes(range(250)) * 4


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def aged(*paths: Path, seconds: float = 2 * STALE_AFTER) -> None:
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def unpacked(cache: Cache, of: str) -> Path:
    def fill(directory: Path) -> None:
        (directory / FILES).mkdir()
        (directory / FILES / "config.json").write_text("{}")
        write_manifest(directory, {"config.json": FileDigest.of(directory / FILES / "config.json")})

    return cache.unpack(of, fill)


@pytest.mark.filterwarnings("ignore:.*changed")
def test_what_lost_its_name_stays_for_a_day_from_then_on(server: Any, cache: Cache) -> None:
    url = server.add("/model.bin", OLD)
    found = fetch(url, Policy())
    directory = unpacked(cache, digest(OLD))
    aged(found, directory)
    server.add("/model.bin", NEW)
    fetch(url, Policy(update=True))
    upkeep.prune(cache)
    assert found.read_bytes() == OLD, "a process may have found it before the update"
    assert directory.is_dir()
    aged(found, directory)
    upkeep.prune(cache)
    assert not found.exists()
    assert not directory.exists()


def test_so_does_what_is_forgotten(server: Any, cache: Cache) -> None:
    url = server.add("/model.bin", OLD)
    found = fetch(url, Policy())
    aged(found)
    cache.forget(url)
    upkeep.prune(cache)
    assert found.read_bytes() == OLD


def test_what_another_url_names_is_hashed_once_more_and_stays(server: Any, cache: Cache) -> None:
    urls = [server.add(path, OLD) for path in ("/a.bin", "/b.bin")]
    found = [fetch(url, Policy()) for url in urls]
    aged(*found)
    cache.forget(urls[0])
    assert fetch(urls[1], Policy(offline=True)).read_bytes() == OLD
    entry = cache.entry(urls[1])
    assert entry is not None
    assert entry.mtime_ns == found[1].stat().st_mtime_ns


def named_late(cache: Cache, monkeypatch: pytest.MonkeyPatch, url: str, data: bytes) -> None:
    """Let a process name a content just after another one found that nothing names it."""
    real = Cache.named
    looks: list[set[str]] = []

    def named(self: Cache) -> set[str]:
        looks.append(real(self))
        if len(looks) == 1:
            with cache.new_file(url) as file:
                file.write(data)
                file.flush()
                entry = CacheEntry(url=url, size=len(data), sha256=digest(data))
                cache.keep(url, file, entry)
            aged(cache.blob(digest(data)))
        return looks[-1]

    monkeypatch.setattr(Cache, "named", named)


def test_what_is_named_while_it_is_pruned_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    blob, directory = cache.blob(digest(OLD)), unpacked(cache, digest(OLD))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(OLD)
    aged(blob, directory)
    named_late(cache, monkeypatch, "https://example.org/model.bin", OLD)
    upkeep.prune(cache)
    assert blob.read_bytes() == OLD
    assert directory.is_dir()


def test_who_names_a_content_waits_for_who_removes_it(cache: Cache) -> None:
    order = []

    def name() -> None:
        with cache.naming(digest(OLD)):
            order.append("named")

    with cache.unnamed(digest(OLD)) as free:
        assert free
        thread = threading.Thread(target=name)
        thread.start()
        time.sleep(0.1)
        order.append("removed")
    thread.join()
    assert order == ["removed", "named"]


def test_a_blob_that_was_fetched_again_is_not_put_aside(server: Any, cache: Cache) -> None:
    found = fetch(server.add("/model.bin", OLD), Policy())
    cache.quarantine(found)  # as by a process that hashed the one before
    assert found.read_bytes() == OLD
    found.chmod(0o644)
    found.write_bytes(NEW)
    cache.quarantine(found)
    assert not found.exists()


def test_a_directory_that_was_unpacked_again_is_not_removed(cache: Cache) -> None:
    directory = unpacked(cache, digest(OLD))
    discard_incomplete(digest(OLD), cache)
    assert complete_files(directory) is not None
    (directory / FILES / "config.json").unlink()
    discard_incomplete(digest(OLD), cache)
    assert not directory.exists()
    discard_incomplete(digest(OLD), cache)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that are killed are forks")
def test_processes_that_share_a_cache_are_right_whatever_is_killed() -> None:
    """The short form of what CONTRIBUTING names for a long one: 16 processes, a server that fails, a cold cache."""
    command = [sys.executable, "-m", "tests.reliability", "cache", "--kills", "8"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| all | 0 wrong of" in ended.stdout
    assert "one cold cache: 1.00 of the bytes" in ended.stdout
