"""Several downloads at once: what comes out is what would come out one after another."""

import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from registry.cache.cache import Cache
from registry.download import progress, retries, together
from registry.download.fetch import Policy, fetch
from registry.download.together import CONNECTIONS, Stopped
from registry.errors import HTTPStatusError, IntegrityError
from registry.sources.files import Files
from registry.sources.resolve import resolve

SLEEP = retries.sleep
"""As it is before a fixture takes its place."""
BODY = bytes(range(256)) * 4096
SHARDS = [f"model-{number:05}-of-00012.safetensors" for number in range(1, 13)]


@pytest.fixture
def sharded(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub with a repository of twelve shards."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    index = b'{"weight_map": {' + ",".join(f'"{name}": "{name}"' for name in SHARDS).encode() + b"}}"
    shards = {name: name.encode() + BODY for name in SHARDS}
    server.hub("me/toy", {"config.json": b"{}", "vocab.txt": b"a", "model.safetensors.index.json": index, **shards})
    return server


# --- In threads of its own --------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_jobs() -> None:
    def job(number: int) -> int:
        time.sleep(0.01 * (5 - number % 5))
        return number

    jobs = [lambda number=number: job(number) for number in range(11)]
    assert together.together(jobs) == list(range(11))
    assert together.together(jobs[:1]) == [0]
    assert together.together([]) == []


def test_the_error_is_that_of_the_first_job_whichever_fails_first() -> None:
    begun: list[int] = []

    def job(number: int) -> None:
        begun.append(number)
        time.sleep(0.1 if number == 1 else 0)
        if number in (1, 2):
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        together.together([lambda number=number: job(number) for number in range(50)])
    assert len(begun) < 20, "what comes after a failure is not begun"


def test_jobs_of_jobs_share_the_connections() -> None:
    at_once, most = [0], [0]
    lock = threading.Lock()

    def leaf() -> None:
        with together.connection():
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            time.sleep(0.01)
            with lock:
                at_once[0] -= 1

    together.together([lambda: together.together([leaf] * 6)] * 5)
    assert most[0] == CONNECTIONS


def test_what_is_no_longer_wanted_stops() -> None:
    ended = threading.Event()

    def waits() -> None:
        try:
            together.pause(60)
        except Stopped:
            ended.set()
            raise

    def fails() -> None:
        time.sleep(0.05)
        raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        together.together([fails, waits])
    assert ended.wait(30), "half of what it would have waited"


def test_without_threads_the_jobs_are_done_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert together.together([lambda: 1, lambda: 2]) == [1, 2]


# --- Downloads --------------------------------------------------------------------------------------------------------


def test_a_model_comes_over_several_connections_and_complete(sharded: Any, reply: Any, cache: Cache) -> None:
    met = threading.Barrier(CONNECTIONS)

    def halves(body: bytes) -> Iterator[bytes]:
        yield body[: len(body) // 2]
        met.wait(60)  # for as many others, which come at the same time
        yield body[len(body) // 2 :]

    for path in [path for path in sharded.replies if path.startswith("/cdn/")]:
        body = sharded.replies[path][0].body
        sharded.add(path, reply(halves(body), headers={"Content-Length": str(len(body))}, etag=None))
    found = Files(resolve("me/toy")).of()
    assert [name for name in found if "-of-" in name] == SHARDS
    assert all(found[name].read_bytes() == name.encode() + BODY for name in SHARDS)
    sharded.forget()
    before = threading.active_count()
    assert Files(resolve("me/toy")).of() == found
    assert sharded.count() == 0
    assert threading.active_count() <= before, "threads of the server may have ended meanwhile"


def test_an_error_is_as_with_one_connection(sharded: Any, reply: Any, cache: Cache, tmp_path: Path) -> None:
    for number in (5, 3):
        body = SHARDS[number].encode() + BODY
        sharded.add(f"/cdn/{sha256(body).hexdigest()}", reply(b"", 404))
    with pytest.raises(HTTPStatusError, match=sha256(SHARDS[3].encode() + BODY).hexdigest()):
        Files(resolve("me/toy")).of()
    body = SHARDS[1].encode() + BODY
    sharded.add(f"/cdn/{sha256(body).hexdigest()}", b"x" * len(body))
    with pytest.raises(IntegrityError):
        Files(resolve("me/toy"), Policy(cache_dir=tmp_path)).of()


def test_one_pause_is_enough_for_all(sharded: Any, reply: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "sleep", SLEEP)
    asked: list[float] = []
    real = sharded.answer

    def answer(path: str) -> Any:
        if not path.endswith(".safetensors"):
            return real(path)
        asked.append(time.monotonic())
        return reply(b"", 429, {"Retry-After": "1"}) if asked[-1] - asked[0] < 0.9 else real(path)

    monkeypatch.setattr(sharded, "answer", answer)
    Files(resolve("me/toy")).of()
    refused = [moment for moment in asked if moment - asked[0] < 0.9]
    assert len(refused) <= CONNECTIONS
    assert len(asked) == len(SHARDS) + len(refused)


def test_ctrl_c_ends_all_downloads_at_once(sharded: Any, reply: Any, cache: Cache) -> None:
    for path in [path for path in sharded.replies if path.startswith("/cdn/")]:
        body = sharded.replies[path][0].body
        sharded.add(path, reply(body, stall=(len(body) // 2, 300)))
    code = """
    import sys, time, threading
    from registry.sources.files import Files
    from registry.sources.resolve import resolve
    print("ready", flush=True)
    try:
        Files(resolve("me/toy")).of()
    except KeyboardInterrupt:
        print("interrupted", threading.active_count(), flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    until = time.monotonic() + 120
    while len([1 for path in sharded.sent if path.startswith("/cdn/")]) < CONNECTIONS and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)  # before the server says more
    assert output == "interrupted 1\n", "no thread is left"
    sharded.stop.set()
    sharded.stop.clear()
    kept = [path.stat().st_size for path in (cache.home / "partial").glob("*.part")]
    assert len(kept) == CONNECTIONS, "what came stays, to be continued"
    for path in [path for path in sharded.replies if path.startswith("/cdn/")]:
        sharded.add(path, sharded.replies[path][0].body)
    sharded.forget()
    assert len(Files(resolve("me/toy")).of()) == 15
    continued = {request.path for request in sharded.requests if "Range" in request.headers}
    assert len([path for path in continued if path.startswith("/cdn/")]) == CONNECTIONS


# --- Progress bars ----------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal that knows what bars need: the carriage return, the line feed, and the cursor up."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0
        self.lock = threading.Lock()

    def write(self, text: str) -> None:
        for part in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", text):
            if part == "\x1b[A":
                self.row -= 1
                assert self.row >= 0
            elif part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
                self.column += len(part)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    @property
    def labels(self) -> list[str]:
        return [line.partition(":")[0] for line in self.lines if line.strip()]


def test_bars_stand_in_the_order_of_the_files(sharded: Any, reply: Any, cache: Cache, monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "get_terminal_size", lambda: (100, 40))
    for number, name in enumerate(SHARDS):
        body = name.encode() + BODY
        pause = 0.3 if number in (0, 5) else 0.02 * (number % 3)
        sharded.add(f"/cdn/{sha256(body).hexdigest()}", reply(body, stall=(len(body) // 2, pause)))
    Files(resolve("me/toy")).of()
    shown = [label for label in terminal.labels if label.startswith("model-")]
    assert shown == SHARDS
    assert all("100%" in line for line in terminal.lines if line.startswith("model-")), terminal.lines
    assert terminal.labels.index("config.json") < terminal.labels.index(SHARDS[0])
    assert terminal.labels[-1] == "vocab.txt"


def test_one_bar_is_as_it_always_was(server: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "get_terminal_size", lambda: (100, 40))
    fetch(server.add("/a%1B0;x%07.bin", BODY), Policy(progress=True))
    assert [line.partition(":")[0] for line in terminal.lines if line] == [r"a\x1b0;x\x07.bin"]


def test_a_broken_terminal_stops_no_download(sharded: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Terminal):
        def write(self, text: str) -> None:
            super().write(text)
            if len(self.lines) > 5:
                raise OSError("gone")

    monkeypatch.setattr(sys, "stderr", Broken())
    monkeypatch.setattr(progress, "get_terminal_size", lambda: (100, 40))
    assert len(Files(resolve("me/toy")).of()) == 15
