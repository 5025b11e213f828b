"""Many that want one file at once: group C of the list of faults."""

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import registry
from registry import discovery
from registry.cache.cache import Cache
from registry.download.fetch import Policy, fetch
from registry.errors import RegistryWarning

BODY = bytes(range(256)) * 8192
OTHER = bytes(reversed(BODY))
SHA = hashlib.sha256(BODY).hexdigest()

WORKER = """
import fcntl, os, sys, threading, warnings
from hashlib import sha256
from pathlib import Path

def break_locks(number=None):
    def flock(*_):
        if number is not None: raise OSError(number, os.strerror(number))
    fcntl.flock = flock

import requests, filelock
import registry
from registry.cache.cache import Cache
from registry.download.fetch import Policy, fetch
rank, urls = int(sys.argv[1]), sys.argv[2:]
print("ready", flush=True)
sys.stdin.readline()
"""


def together(number: int, code: str, *arguments: str) -> list[str]:
    """Run code in so many processes, which all begin at the same moment; returns what each printed."""
    script = WORKER + textwrap.dedent(code)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(number)
    ]  # fmt: skip
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n", worker.stderr.read()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        results = [worker.communicate(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (_, problems) in zip(workers, results, strict=True):
        assert worker.returncode == 0, problems
    return [printed.strip() for printed, _ in results]


@contextmanager
def polled(look: Callable[[], None]) -> Iterator[None]:
    """Look again and again meanwhile; what is then seen to be wrong fails the test."""
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            look()

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(poll)
        try:
            yield
        finally:
            stop.set()
    looking.result()


GET = "print(sha256(fetch(urls[0], Policy()).read_bytes()).hexdigest())"


def test_eight_that_start_together_fetch_once(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    assert together(8, GET, url) == [SHA] * 8
    assert server.sent["/model.bin"] == len(BODY)


def test_without_locks_all_are_right_all_the_same(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)

    def look() -> None:
        for blob in (cache.home / "blobs").glob("*/*"):
            if not blob.name.startswith("."):
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        entry = cache.entry(url)
        assert entry is None or cache.blob(entry.sha256).stat().st_size == entry.size

    with polled(look):
        assert together(8, "break_locks()\n" + GET, url) == [SHA] * 8
    assert server.sent["/model.bin"] <= 8 * len(BODY)
    assert fetch(url, Policy(offline=True)).read_bytes() == BODY


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, 524])
def test_a_disk_without_locks_is_told_once(server, cache, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(RegistryWarning, match="cannot be locked"):
        assert fetch(server.add("/a.bin", BODY), Policy()).read_bytes() == BODY
    assert fetch(server.add("/b.bin", BODY), Policy()).read_bytes() == BODY  # a second warning would be an error


def test_a_system_without_flock_goes_on(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    code = f"break_locks({errno.ENOSYS})\nwarnings.simplefilter('ignore')\n" + GET
    assert together(2, code, url) == [SHA] * 2


def test_threads_of_one_process_fetch_once(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(lambda _: fetch(url, Policy()), range(16)))
    assert set(paths) == {cache.blob(SHA)}
    assert server.count() == 1


def test_one_content_at_two_urls_is_kept_once(server, cache: Cache) -> None:
    urls = [server.add("/a.bin", BODY), server.add("/b.bin", BODY)]
    assert together(2, "print(fetch(urls[rank], Policy()))", *urls) == [str(cache.blob(SHA))] * 2
    assert len(list((cache.home / "blobs").glob("*/*"))) == 1
    assert len(list(cache.entries())) == 2


def test_a_reader_sees_the_old_or_the_new(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    bodies = {BODY, OTHER}

    def look() -> None:
        assert fetch(url, Policy(offline=True)).read_bytes() in bodies

    code = "warnings.simplefilter('ignore')\nfor _ in range(5): fetch(urls[0], Policy(update=True))"
    server.add("/model.bin", *[BODY, OTHER] * 10)
    with polled(look):
        together(2, code, url)


def test_two_updates_while_the_content_changes_are_each_right(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    server.add("/model.bin", *[OTHER, BODY] * 20)
    code = """
    warnings.simplefilter("ignore")
    for _ in range(5):
        path = fetch(urls[0], Policy(update=True))
        assert sha256(path.read_bytes()).hexdigest() == path.name
    print("right")
    """
    assert together(2, code, url) == ["right"] * 2
    assert fetch(url, Policy(offline=True)).read_bytes() in (BODY, OTHER)


def test_a_cache_that_is_deleted_while_many_fetch_hurts_nobody(server, cache: Cache) -> None:
    urls = [server.add(f"/{number}.bin", BODY) for number in range(4)]
    code = """
    import shutil
    for _ in range(10):
        if rank == 3:
            shutil.rmtree(Cache.at().directory, ignore_errors=True)
        else:
            try:
                assert len(fetch(urls[rank], Policy()).read_bytes()) == 2097152
            except FileNotFoundError:
                pass  # it was deleted between its being found and its being read
            except registry.errors.CacheError:
                pass  # it was deleted again, when it was being made again
    print("right")
    """
    assert together(4, code, *urls) == ["right"] * 4
    assert fetch(urls[0], Policy()).read_bytes() == BODY


@pytest.mark.slow
def test_sixty_four_that_start_together_do_not_storm_the_server(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    code = """
    tell = lambda: print(fetch(urls[0], Policy()).name + "\\n", end="", flush=True)  # in one write
    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    assert {name for printed in together(16, code, url) for name in printed.split()} == {SHA}
    assert server.count() == 1


def test_what_a_network_disk_does_not_show_yet_is_looked_for_again(server, cache, monkeypatch) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    real, stale = os.open, [2]

    def opening(name: object, *rest: object, **more: object) -> int:
        if stale[0] and str(name).endswith(".json"):
            stale[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(name, *rest, **more)

    monkeypatch.setattr(os, "open", opening)
    assert cache.find(url) == path
    stale[0] = 10**6
    assert cache.find(url) is None, "after three looks, it is a miss"


def test_two_that_unpack_at_once_share_one_directory(cache: Cache) -> None:
    code = """
    import time
    def fill(directory):
        (directory / "a").write_text("same")
        time.sleep(0.2)
    print(Cache.at().unpack("0" * 64, fill))
    """
    directory = cache.home / "unpacked" / ("0" * 64)
    assert together(2, code) == [str(directory)] * 2
    assert list((cache.home / "unpacked").iterdir()) == [directory]
    assert (directory / "a").read_text() == "same"


def test_threads_that_ask_at_once_all_get_whole_answers() -> None:
    discovery.refresh()
    barrier = threading.Barrier(8)

    def ask(_: int) -> list[str]:
        barrier.wait()
        return registry.list_models()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len(answers[0]) > 10
    assert all(answer == answers[0] for answer in answers)


def test_the_cache_may_be_given_as_text_bytes_or_path(server, tmp_path: Path) -> None:
    url = server.add("/model.bin", BODY)
    for cache_dir in (str(tmp_path / "a"), os.fsencode(tmp_path / "b"), tmp_path / "c"):
        assert registry.cached_path(url, cache_dir).read_bytes() == BODY
