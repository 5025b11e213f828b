"""Processes that die, stop, fork or run out of memory."""

import errno
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry
from registry import errors
from registry.cache import locks
from registry.cache.cache import Cache
from registry.download.fetch import Policy, fetch
from registry.errors import CacheError, RegistryError
from registry.files.urls import normalized

BODY = bytes(range(256)) * 8192
SHA = hashlib.sha256(BODY).hexdigest()

DYING = """
import os, signal, sys
from pathlib import Path

def die(*_arguments, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)

def dies_at(owner, name, number):
    real, calls = getattr(owner, name), [0]
    def dying(*arguments, **keywords):
        calls[0] += 1
        return die() if calls[0] == number else real(*arguments, **keywords)
    setattr(owner, name, dying)

import registry
"""


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which knows how to die."""
    command = [sys.executable, "-c", DYING + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def killed(code: str, *arguments: object) -> None:
    assert run(code, *arguments).returncode == -signal.SIGKILL


# --- Killed at one step -----------------------------------------------------------------------------------------------


def test_a_download_goes_on_after_its_process_was_killed(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    code = """
    from registry.download import partial
    partial.CHUNK = 65536
    from registry.download import body
    body.CHUNK = 65536
    dies_at(partial.PartialDownload, "write", 9)
    registry.cached_path(sys.argv[1])
    """
    killed(code, url)
    assert cache.find(url) is None
    server.forget()
    assert fetch(url, Policy()).read_bytes() == BODY
    start = int(server.headers("/model.bin")[0]["Range"].removeprefix("bytes=").rstrip("-"))
    assert start > 0
    assert server.sent["/model.bin"] == len(BODY) - start
    assert not list((cache.home / "partial").iterdir())


def test_a_whole_body_is_not_fetched_again_after_a_kill_before_its_name(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    killed('dies_at(os, "fsync", 1)\nregistry.cached_path(sys.argv[1])', url)
    killed('dies_at(Path, "replace", 1)\nregistry.cached_path(sys.argv[1])', url)
    server.forget()
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.sent["/model.bin"] == 0


def test_a_blob_without_a_name_harms_nobody(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    killed("from registry.cache.cache import Cache\nCache._write = die\nregistry.cached_path(sys.argv[1])", url)
    assert cache.blob(SHA).read_bytes() == BODY
    assert cache.find(url) is None
    os.utime(cache.blob(SHA), (1, 1))
    cache.sweep()
    assert not cache.blob(SHA).exists()
    assert fetch(url, Policy()).read_bytes() == BODY


@pytest.mark.parametrize("step", [2, 3])
def test_a_ref_is_old_or_new(server, cache: Cache, step: int) -> None:
    url = server.add("/model.bin", b"old")
    fetch(url, Policy())
    server.add("/model.bin", BODY)
    code = """
    from registry.download.fetch import Policy, fetch
    dies_at(os, "fsync", int(sys.argv[2]))
    fetch(sys.argv[1], Policy(update=True))
    """
    killed(code, url, step)
    assert fetch(url, Policy(offline=True)).read_bytes() == b"old"
    for blob in (cache.home / "blobs").glob(f"*/{SHA}"):
        blob.unlink()
    killed(code.replace('os, "fsync"', 'Path, "replace"'), url, 2)
    assert fetch(url, Policy(offline=True)).read_bytes() == b"old"


def test_a_folder_that_was_not_finished_is_made_anew(cache: Cache) -> None:
    name = "0" * 64
    code = """
    from registry.cache.cache import Cache
    def fill(folder):
        (folder / "a").write_text("half")
        die()
    Cache.at().unpack("0" * 64, fill)
    """
    killed(code)
    assert not (cache.home / "unpacked" / name).exists()
    left = list((cache.home / "unpacked").iterdir())
    assert len(left) == 1
    folder = cache.unpack(name, lambda folder: (folder / "a").write_text("whole"))
    assert (folder / "a").read_text() == "whole"
    os.utime(left[0], (1, 1))
    cache.sweep()
    assert list((cache.home / "unpacked").iterdir()) == [folder]


# --- Locks of the dead, and of those who will not let go --------------------------------------------------------------


def test_the_lock_of_a_killed_process_is_free(server, cache: Cache, monkeypatch, caplog) -> None:
    monkeypatch.setattr(locks, "LOG_EVERY", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    caplog.set_level("INFO", "registry")
    url = server.add("/model.bin", BODY)
    killed(
        """
        from registry.cache.cache import Cache
        with Cache.at().lock(sys.argv[1]):
            die()
        """,
        url,
    )
    fetch(url, Policy())
    assert "lock" not in caplog.text, "nothing was waited for"


def test_a_lock_that_nobody_gives_back_is_done_without(server, cache, monkeypatch, caplog) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 2.0)
    monkeypatch.setattr(locks, "LOG_EVERY", 0.1)
    caplog.set_level("INFO", "registry")
    url = server.add("/model.bin", BODY)
    with cache.lock(url):
        assert fetch(url, Policy()).read_bytes() == BODY
    assert caplog.text.count("waiting for another process") >= 2
    assert "continuing without it" in caplog.text


def test_a_stopped_holder_is_done_without(server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.5)
    url = server.add("/model.bin", BODY)
    code = """
    from registry.cache.cache import Cache
    with Cache.at().lock(sys.argv[1]):
        print("held", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    """
    command = [sys.executable, "-c", DYING + textwrap.dedent(code), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert fetch(url, Policy()).read_bytes() == BODY
        finally:
            holder.kill()


# --- Signals, forks, exits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_comes_through_and_keeps_what_is_here(server, reply, cache, monkeypatch, kind) -> None:
    from registry.download.partial import PartialDownload

    write = PartialDownload.write

    def interrupted(part: PartialDownload, chunk: bytes) -> None:
        if part.size > 500_000:
            raise kind
        write(part, chunk[:100_000])

    url = server.add("/model.bin", BODY)
    monkeypatch.setattr("registry.download.body.CHUNK", 100_000)
    monkeypatch.setattr(PartialDownload, "write", interrupted)
    with pytest.raises(kind):
        fetch(url, Policy())
    monkeypatch.setattr(PartialDownload, "write", write)
    server.forget()
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.sent["/model.bin"] < len(BODY)


def test_without_memory_a_model_is_an_error_and_not_half_of_one(tmp_path: Path, sizes: dict[str, int]) -> None:
    code = """
    import json, resource, torch
    from registry.errors import WeightsLimitError
    from registry.zoo import BertConfig, BertModel
    folder = Path(sys.argv[1])
    config = BertConfig(**json.loads(sys.argv[2]))
    registry.save(BertModel(config), folder)
    model = BertModel.from_pretrained(folder, dtype=torch.float64)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))
    try:
        BertModel.from_pretrained(folder, dtype=torch.float64)
    except WeightsLimitError as error:
        print("limit", isinstance(error, ValueError))
    """
    import json

    large = {**sizes, "vocab_size": 200_000}
    found = run(code, tmp_path / "model", json.dumps(large))
    assert found.stdout == "limit True\n", found.stderr


def test_a_child_does_not_use_the_connections_of_its_parent(server, reply, cache: Cache) -> None:
    class Waiting:
        def __iter__(self) -> Iterator[bytes]:
            yield BODY[:1000]
            started.set()
            go_on.wait(20)
            yield BODY[1000:]

    started, go_on = threading.Event(), threading.Event()
    slow = server.add("/slow.bin", reply(Waiting(), length=str(len(BODY))))
    other = server.add("/other.bin", b"other")
    download = threading.Thread(target=fetch, args=(slow, Policy()))
    download.start()
    assert started.wait(20)
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = fetch(other, Policy()).read_bytes() == b"other"
        finally:
            os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    download.join()
    assert status == 0
    assert fetch(slow, Policy(offline=True)).read_bytes() == BODY


def test_bytes_reach_the_disk_before_their_name_and_the_blob_before_the_ref(server, cache, monkeypatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).suffix or 'folder'}")
        fsync(handle)

    def renamed(source: Path, target: Path) -> Path:
        steps.append(f"rename {source.suffix} {target.parent.name if target.suffix else 'blob'}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    fetch(server.add("/model.bin", BODY), Policy())
    assert steps == [
        *("sync .part", "rename .part blob", "sync folder"),
        *("sync .tmp", "rename .tmp refs", "sync folder"),
    ]


def every_error() -> list[type[RegistryError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RegistryError)]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_survives_pickling_with_its_fields(kind: type[RegistryError]) -> None:
    more = {
        "HTTPStatusError": {"status": 503, "retry_after": 2.0},
        "IncompleteDownloadError": {"got": 3, "expected": 5},
        "CacheCorruptError": {"path": Path("/x")},
    }.get(kind.__name__, {})
    error = kind("what was asked", hint="what to do", **more)
    if isinstance(error, OSError):
        error.errno = errno.ENOSPC
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "what was asked\nwhat to do"
    assert vars(again) == vars(error)
    assert getattr(again, "errno", None) == getattr(error, "errno", None)


def test_an_interpreter_that_exits_leaves_nothing_half_visible(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, stall=(500_000, 30)))
    code = """
    import threading, time
    threading.Thread(target=registry.cached_path, args=(sys.argv[1],), daemon=True).start()
    while not list(Path(sys.argv[2]).glob("partial/*.part")): time.sleep(0.01)
    time.sleep(0.2)
    """
    found = run(code, url, cache.home)
    assert found.returncode in (0, -signal.SIGABRT), found.stderr
    assert cache.find(normalized(url)) is None
    server.add("/model.bin", BODY)
    assert fetch(url, Policy()).read_bytes() == BODY


def test_the_errors_of_a_disk_are_errors_of_the_cache(cache: Cache) -> None:
    with pytest.raises(CacheError, match="cannot be used"), cache.writing():
        raise OSError(errno.EIO, "Input/output error")
    with pytest.raises(registry.errors.ConfigError), cache.writing():
        raise registry.errors.ConfigError("comes through")
