"""Downloads over loopback: the rate against curl's, sixteen processes at once, cached paths, and a line that breaks.

``python benchmarks/download.py``.  A server in a process of its own serves one model of 200 MB as the hub does (a
listing, commits, ETags, ranges).  curl fetches the same file from the same server in turn with us; neither its digest
nor its fsync is subtracted from our time, which has both.  ``--folder`` is where everything is written.
"""

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen

from results import row

COMMIT = "c" * 40
REPOSITORY = "bench/model"
WEIGHTS = f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"
FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")

WORKER = """
import sys
if sys.argv[1] == "broken":
    import fcntl
    fcntl.flock = lambda *_: None
import requests, filelock
from hashlib import file_digest
from registry.sources.files import Files
from registry.sources.resolve import resolve
print("ready", flush=True)
sys.stdin.readline()
path = Files(resolve("hub:bench/model")).of()["model.safetensors"]
with path.open("rb") as file:
    print(file_digest(file, "sha256").hexdigest())
"""

CACHED = """
import sys, time
events = []
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.chmod", "os.utime", "os.link", "os.truncate")
def hear(event, arguments):
    opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3  # for writing
    if opened or event in WRITES or event.startswith("socket."):
        events.append(event)
import registry
from registry.sources.files import Files
from registry.sources.resolve import resolve
first = time.perf_counter()
import registry.sources.choosing  # what a model in a directory does without, and one from the hub needs once
start = time.perf_counter()
resolution = resolve("bench/model")  # asks every plugin whether it is the name of a card
middle = time.perf_counter()
sys.addaudithook(hear)
paths = Files(resolution).of()
end = time.perf_counter()
times = [1000 * (end - middle), 1000 * (middle - start), 1000 * (start - first)]
print(*times[:2], len(events), len(paths), "requests" in sys.modules, times[2])
"""


def serve(folder: str, port: "object") -> None:
    """Serve the model, and count bytes of weights and requests (``/-/``); ``/-/cuts/1,2`` breaks the line there."""
    state = {"sent": 0, "requests": 0}
    cuts: list[int] = []
    names = {name: f'"{hashlib.sha256(Path(folder, name).read_bytes()).hexdigest()}"' for name in FILES}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/-/"):
                return self.control(self.path.removeprefix("/-/"))
            state["requests"] += 1
            if self.path.startswith("/api/"):
                listing = {"sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
                return self.answer(200, json.dumps(listing).encode())
            return self.file(self.path.rpartition("/")[2])

        def control(self, order: str) -> None:
            if order.startswith("cuts/"):
                cuts[:] = map(int, order.removeprefix("cuts/").split(","))
            elif order == "reset":
                state.update(sent=0, requests=0)
            self.answer(200, json.dumps(state).encode())

        def file(self, name: str) -> None:
            path = Path(folder, name)
            size, etag = path.stat().st_size, names[name]
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and self.headers.get("If-Range", etag) == etag else 0
            end = min((cut for cut in cuts if cut > start), default=size) if name == "model.safetensors" else size
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(size - start))
            self.send_header("ETag", etag)
            self.send_header("X-Repo-Commit", COMMIT)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            with path.open("rb") as file:
                done = self.connection.sendfile(file, start, end - start)
            if name == "model.safetensors":
                state["sent"] += done
            if end < size:
                cuts.remove(end)
                self.close_connection = True

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    port.value = server.server_port  # type: ignore[attr-defined]
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--folder", help="where to write (default: a folder of temporaries)")
    parser.add_argument("--only", choices=("rate", "processes", "cached", "cuts"))
    parser.add_argument("--shared", help="not needed here; taken so that all benchmarks are called alike")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        model = Path(folder, "model")
        model.mkdir()
        for name in FILES[:-1]:
            (model / name).write_text("{}" if name.endswith("json") else "[UNK]\n")
        weights = random.Random(0).randbytes(2**20) * chosen.megabytes
        (model / "model.safetensors").write_bytes(weights)
        digest = hashlib.sha256(weights).hexdigest()
        del weights
        context = get_context("spawn")
        port = context.Value("i", 0)
        server = context.Process(target=serve, args=(str(model), port), daemon=True)
        server.start()
        while not port.value:
            time.sleep(0.05)
        os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{port.value}", PYTORCH_PRETRAINED_BERT_CACHE=f"{folder}/cache")
        for name in ("REGISTRY_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            os.environ.pop(name, None)
        try:
            for name, measure in MEASURES.items():
                if chosen.only in (None, name):
                    measure(Path(folder), digest, chosen.megabytes * 2**20, chosen.rounds)
        finally:
            server.kill()


def ask(order: str) -> dict[str, int]:
    with urlopen(f"{os.environ['HF_ENDPOINT']}/-/{order}") as answer:
        return json.load(answer)


def rate(folder: Path, digest: str, size: int, rounds: int) -> None:
    """One file with its digest, and ``curl -o`` of the same, in turn."""
    from registry.download.fetch import Policy, fetch

    url = f"https://huggingface.co{WEIGHTS}"
    seconds: dict[str, list[float]] = {"curl": [], "registry": []}
    for number in range(rounds + 1):
        target, cache = folder / f"curl-{number}", folder / f"cache-{number}"
        start = time.perf_counter()
        subprocess.run(["curl", "-s", "-o", str(target), os.environ["HF_ENDPOINT"] + WEIGHTS], check=True)
        middle = time.perf_counter()
        fetch(url, Policy(cache_dir=cache), sha256=digest)
        end = time.perf_counter()
        if number:  # the first round warms both
            seconds["curl"].append(middle - start)
            seconds["registry"].append(end - middle)
        target.unlink()
        subprocess.run(["rm", "-rf", str(cache)], check=True)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:10} {size / median / 1e6:8.0f} MB/s (median of {rounds})")
    ratios = [curl / ours for curl, ours in zip(seconds["curl"], seconds["registry"], strict=True)]
    row("download of 200 MB", size / medians["registry"] / 1e6, "MB/s", ratio=statistics.median(ratios), peer="curl")
    print(f"rate of registry / rate of curl: {statistics.median(ratios):.2f}x   (must reach 0.90x)\n")


def processes(folder: Path, digest: str, size: int, _rounds: int) -> None:
    """Sixteen processes that ask at once: cold, cached, and cold again with a flock that does nothing."""
    for title, broken, cold in (
        ("cold", False, True),
        ("cached", False, False),
        ("cold, flock does nothing", True, True),
    ):
        if cold:
            subprocess.run(["rm", "-rf", str(folder / "cache")], check=True)
        ask("reset")
        found = together(16, "broken" if broken else "whole")
        counted = ask("")
        right = sum(answer == digest for answer in found)
        row(f"16 processes, {title}, bytes sent", counted["sent"] / size, "x of the file")
        print(
            f"16 processes, {title}: {right} of 16 right, {counted['sent'] / size:.2f}x of the bytes, "
            f"{counted['requests']} requests"
        )
    print()


def together(number: int, how: str) -> list[str]:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [worker.communicate()[0].strip() for worker in workers]


def cached(_folder: Path, _digest: str, _size: int, rounds: int) -> None:
    """From a name to the paths of a model that is here, in fresh processes."""
    subprocess.run([sys.executable, "-c", CACHED], check=True, stdout=subprocess.DEVNULL)  # fetches it if need be
    runs = [subprocess.check_output([sys.executable, "-c", CACHED], text=True).split() for _ in range(rounds)]
    took, before = (statistics.median(float(run[column]) for run in runs) for column in (0, 1))
    row("cached model, resolution to paths", took, "ms")
    print(f"cached, resolution to {runs[0][3]} paths: {took:.1f} ms (median of {rounds}; must stay below 5)")
    imports = statistics.median(float(run[5]) for run in runs)
    print(f"  before it, from the name to the resolution, plugins being found: {before:.1f} ms")
    print(f"  and modules of the cache, imported once in a process: {imports:.1f} ms")
    print(f"  writes and sockets: {max(int(run[2]) for run in runs)}; requests imported: {runs[0][4]}\n")


def cuts(folder: Path, digest: str, size: int, _rounds: int) -> None:
    """One download over a line that breaks at ten random places: within one call, and killed at each."""
    from registry.download import retries
    from registry.download.fetch import Policy, fetch

    retries.sleep = lambda _seconds: None  # the pauses are not what is measured
    places = sorted(random.Random(1).sample(range(1, size), 10))
    for title, tries in (("one call", 5), ("a call for each cut", 1)):
        retries.TRIES = {**retries.TRIES, retries.IncompleteDownloadError: tries}
        cache = folder / f"cuts-{tries}"
        ask("reset")
        ask(f"cuts/{','.join(map(str, places))}")
        for _ in range(11):
            try:
                path = fetch(f"https://huggingface.co{WEIGHTS}", Policy(cache_dir=cache))
                break
            except retries.IncompleteDownloadError:
                pass
        right = path.name == digest and hashlib.sha256(path.read_bytes()).hexdigest() == digest
        print(
            f"cut at ten places, {title}: {'right' if right else 'WRONG'}, {ask('')['sent'] / size:.2f}x of the bytes"
        )
    print("(must stay below 1.10x)")


MEASURES = {"rate": rate, "processes": processes, "cached": cached, "cuts": cuts}

if __name__ == "__main__":
    main()
