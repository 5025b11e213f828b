"""Many processes that share a cache, a server that fails, and kills.

A quarter of the URLs are removed now and then, with what they named; of the others no file may vanish while it is used,
whatever is pruned, updated or verified meanwhile.
"""

import hashlib
import io
import json
import os
import random
import re
import tarfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import requests  # before this process is forked
from attrs import evolve
from tests.registry.server import Reply, Server
from tests.reliability.processes import end, forked

from registry.archives import unpack
from registry.archives.unpacked import of_web_archive
from registry.cache import upkeep
from registry.cache.cache import Cache
from registry.download import retries
from registry.download.fetch import fetch
from registry.download.policy import Policy
from registry.errors import FetchError
from registry.files import atomic

assert requests
assert unpack

WORKERS = 16
FAILING = 0.35
"""Share of answers that are errors, break off or end with a reset."""
AGE = 2.0
"""Seconds in place of the day and the hour for which nothing is pruned; nobody here uses a file for so long."""
USE = 0.5
"""Most seconds for which a file is used."""
LENGTH = 150_000
"""Bytes of a file, roughly."""
WRONG = re.compile("WRONG|VANISHED|UNEXPLAINED|LEFT")
"""In outcomes that must not be."""
CHANGING = 3.0
"""Seconds after which the server has other files."""


class Address(NamedTuple):
    """One URL, and what it may hold."""

    path: str
    digests: dict[str, set[str]]
    """The sha256 of what may be in each file."""
    removed: bool
    """Whether its record is removed now and then."""


# --- What is served ---------------------------------------------------------------------------------------------------


def content(seed: object) -> bytes:
    """Bytes that look random."""
    return random.Random(str(seed)).randbytes(LENGTH)


def archive(seed: object) -> tuple[bytes, dict[str, bytes]]:
    """An archive of a model, and what is in it."""
    config = json.dumps({"model_type": "bert", "note": str(seed)}).encode()
    files = {"config.json": config, "pytorch_model.bin": content(seed), "vocab.txt": b"[UNK]\n" + str(seed).encode()}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as packed:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            packed.addfile(member, io.BytesIO(body))
    return data.getvalue(), files


def digest(data: bytes) -> str:
    """The sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def contents() -> tuple[dict[str, list[bytes]], list[Address]]:
    """The bodies that the server has at each path, in turn, and the addresses."""
    bodies = {f"/{number}.bin": [content(number // 2)] for number in range(6)}  # two paths for each
    bodies |= {f"/changing-{number}.bin": [content(f"{number} {turn}") for turn in range(2)] for number in range(4)}
    addresses = [Address(path, {path[1:]: set(map(digest, found))}, False) for path, found in bodies.items()]
    for number in range(4):
        packed = [archive(f"{number} {turn}") for turn in range(1 + number % 2)]
        bodies[f"/{number}.tar.gz"] = [data for data, _ in packed]
        names = {name: {digest(files[name]) for _, files in packed} for name in packed[0][1]}
        addresses.append(Address(f"/{number}.tar.gz", names, False))
    return bodies, [each._replace(removed=position % 4 == 3) for position, each in enumerate(addresses)]


def serve(bodies: dict[str, list[bytes]], *, failing: float, announce: Callable[[str], object]) -> None:
    """Serve until the process is killed; ``/sent`` tells how many bytes were sent."""
    server, chosen = Server(), random.Random(1)
    usual = server.answer

    def answer(path: str) -> Reply:
        if path == "/sent":
            return Reply(json.dumps(sum(server.sent.values())).encode(), etag=None)
        if path in bodies:
            server.add(path, bodies[path][int(time.monotonic() / CHANGING) % len(bodies[path])])
        reply = usual(path)
        if chosen.random() > failing:
            return reply
        broken = replace(reply, cut=chosen.randrange(1000))
        return chosen.choice([broken, replace(broken, reset=True), Reply(b"", 503, etag=None)])

    server.answer = answer  # type: ignore[method-assign]
    announce(server.url)
    while True:
        time.sleep(60)


class Served:
    """A server in a process of its own, so that this one stays without threads and can be forked."""

    def __init__(self, bodies: dict[str, list[bytes]], *, failing: float) -> None:
        reading, writing = os.pipe()
        self._child = forked(
            lambda: serve(bodies, failing=failing, announce=lambda url: os.write(writing, f"{url}\n".encode()))
        )
        os.close(writing)
        with os.fdopen(reading) as file:
            self.url = file.readline().strip()

    def sent(self) -> int:
        """Bytes of all answers so far."""
        with urlopen(f"{self.url}/sent") as answer:  # our own
            return int(json.load(answer))

    def close(self) -> None:
        """End the server."""
        end(self._child)


# --- What is done -----------------------------------------------------------------------------------------------------


class Worker:
    """What one process does with the cache, again and again."""

    def __init__(self, directory: Path, url: str, addresses: list[Address], seed: int, *, use: float = 0) -> None:
        self.policy = Policy(cache_dir=directory, progress=False)
        self.cache = Cache.at(directory)
        self.url, self.addresses, self.chosen, self.longest = url, addresses, random.Random(seed), use

    def step(self) -> str:
        """Do one thing; returns what, and how it ended."""
        actions = (self.use, self.use, self.use, self.update, self.prune, self.verify, self.remove)
        action, address = self.chosen.choice(actions), self.chosen.choice(self.addresses)
        try:
            outcome = action(address)
        except FetchError:
            outcome = "refused" if action in (self.use, self.update, self.remove) else "UNEXPLAINED FetchError"
        except Exception as problem:  # which must not be
            outcome = f"UNEXPLAINED {type(problem).__name__}: {problem!r}"
        return f"{action.__name__}: {outcome}"

    def use(self, address: Address) -> str:
        """Get the files of a URL, and read them twice."""
        return self._used(address, self.policy)

    def update(self, address: Address) -> str:
        """Look for newer files, and read them twice."""
        return self._used(address, evolve(self.policy, update=True))

    def prune(self, _: Address) -> str:
        """Prune the cache."""
        upkeep.prune(self.cache)
        return "done"

    def verify(self, _: Address) -> str:
        """Hash everything."""
        damaged = upkeep.verify(self.cache).damaged.values()
        wrong = [problem for problem in damaged if "sha256" in problem]  # others are removed meanwhile
        return f"WRONG BYTES: {wrong}" if wrong else "done"

    def remove(self, address: Address) -> str:
        """Remove what a URL names, if it is one of those."""
        if address.removed:
            upkeep.remove([self.url + address.path], self.cache, asked=address.path)
        return "done"

    def _used(self, address: Address, policy: Policy) -> str:
        url, start = self.url + address.path, time.monotonic()
        paths = of_web_archive(url, policy) if url.endswith(".tar.gz") else {address.path[1:]: fetch(url, policy)}
        for _ in range(2):
            for name, path in paths.items():
                try:
                    found = digest(path.read_bytes())
                except FileNotFoundError:
                    if time.monotonic() - start > AGE:  # where there are fewer processors than processes
                        return "used for longer than what may be pruned"
                    return "removed meanwhile" if address.removed else f"VANISHED: {path}"
                if found not in address.digests[name]:
                    return f"WRONG BYTES: {path}"
            time.sleep(self.chosen.uniform(0, self.longest))
        return "right"


def work(directory: Path, url: str, addresses: list[Address], seed: int, log: Path) -> None:
    """Do one thing after another until this process is killed, and note each in the log."""
    hurry()
    worker = Worker(directory, url, addresses, seed, use=USE)
    with log.open("ab", buffering=0) as file:
        while True:
            file.write(f"{worker.step()}\n".encode())


def hurry() -> None:
    """Let this process wait less, and take files for old sooner."""
    atomic.STALE_AFTER = upkeep.YOUNG = AGE  # type: ignore[assignment]
    retries.sleep = lambda seconds: time.sleep(seconds / 50)
    warnings.simplefilter("ignore")


# --- Figures ----------------------------------------------------------------------------------------------------------


def chaos(directory: Path, kills: int, seed: int) -> Counter[str]:
    """Let processes work until so many were killed; how often each thing ended how."""
    bodies, addresses = contents()
    served, log, chosen = Served(bodies, failing=FAILING), directory / "log", random.Random(seed)
    cache, seeds = directory / "cache", iter(range(seed * 10**6, 10**9))

    def start() -> int:
        number = next(seeds)
        return forked(lambda: work(cache, served.url, addresses, number, log))

    workers = [start() for _ in range(WORKERS)]
    for _ in range(kills):
        time.sleep(chosen.uniform(0, 0.3))
        killed = chosen.randrange(WORKERS)
        end(workers[killed])
        workers[killed] = start()
    for worker in workers:
        end(worker)
    served.close()
    counts = Counter(log.read_text("utf-8").splitlines())
    counts.update(found for found in afterwards(cache, bodies, addresses))
    return counts


def afterwards(directory: Path, bodies: dict[str, list[bytes]], addresses: list[Address]) -> Iterator[str]:
    """What is wrong with a cache once all is quiet, the server is well and what was left is old."""
    hurry()
    time.sleep(AGE)
    served = Served(bodies, failing=0)
    worker = Worker(directory, served.url, addresses, 0)
    yield "afterwards, " + worker.verify(addresses[0])
    for address in addresses:
        yield "afterwards, " + worker.use(address)
    served.close()
    worker.prune(addresses[0])
    home = worker.cache.home
    left = [*(home / "partial").iterdir(), *home.rglob("*.tmp")]
    yield f"afterwards, LEFT: {len(left)}" if left else "afterwards, nothing is left of what was killed"


def cold(directory: Path) -> float:
    """The bytes that a server sends to processes which begin together, for each byte that there is."""
    bodies, addresses = contents()
    served = Served({path: found[:1] for path, found in bodies.items()}, failing=0)
    reading, writing = os.pipe()

    def load() -> None:
        os.read(reading, 1)
        worker = Worker(directory / "cold", served.url, addresses, 0)
        outcomes = {worker.use(address) for address in addresses}
        assert outcomes == {"right"}, outcomes

    workers = [forked(load) for _ in range(WORKERS)]
    os.write(writing, b"x" * WORKERS)
    codes = [os.waitpid(worker, 0)[1] for worker in workers]
    assert codes == [0] * WORKERS, codes
    sent = served.sent()
    served.close()
    return float(sent / sum(len(found[0]) for found in bodies.values()))


def report(directory: Path, kills: int, seconds: float, seed: int) -> Iterator[str]:
    """Print how operations on a shared cache ended, and what a cold one costs; yields what must not be."""
    counts = chaos(directory, kills, seed)
    print(f"A cache that {WORKERS} processes share, a server that fails {FAILING:.0%} of the time: {kills} kills")
    for outcome, number in sorted(counts.items()):
        print(f"| {number} | {outcome:.200} |")
    faults = {outcome: number for outcome, number in counts.items() if WRONG.search(outcome)}
    ratio = cold(directory)
    print(f"| all | {sum(faults.values())} wrong of {sum(counts.values())} |")
    print(f"{WORKERS} processes, one cold cache: {ratio:.2f} of the bytes")
    yield from (f"cache: {number} times {outcome}" for outcome, number in faults.items())
    if ratio > 1.01:
        yield f"cache: a cold one costs {ratio:.2f} of the bytes"
