"""Servers and clients that others wrote, started where they are installed; tests without them say what is missing."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha1, sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertForMaskedLM
from plugins.bert.tokenization import BertTokenizer

COMMIT = "c" * 40
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "is", "nice"]


@pytest.fixture(autouse=True)
def _loopback(loopback: None) -> None:
    """Loopback may be used, without proxies."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with its tokenizer, in a directory called ``toy``."""
    directory = tmp_path_factory.mktemp("servers") / "root" / "toy"
    vocabulary = directory.parent.parent / "vocab.txt"
    directory.parent.mkdir()
    vocabulary.write_text("\n".join(WORDS) + "\n")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    torch.manual_seed(0)
    bert = BertForMaskedLM(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes))
    bert.init_weights()
    return registry.save(bert, directory, tokenizer=BertTokenizer(vocabulary))


def git_sha1(path: Path) -> str:
    """The name of a file's content in git, which is the hub's ETag of small files."""
    data = path.read_bytes()
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a program; without it the test is skipped."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def started(command: list[str], port: int, log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """A server that accepts connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{command[0]} does not start: {log.read_text()}")


# --- nginx ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def nginx(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """nginx of this machine with ``nginx.conf``: ``url``, ``secure`` (https), ``ca`` and ``requests()``."""
    binary = program("nginx")
    directory = model.parents[1]
    _write_hub(directory / "root", model)
    ca = _write_certificates(directory)
    (directory / "users").write_text(f"m@x:{openssl(directory, 'passwd', '-apr1', 'p@ss:w/rd')}")
    weights = (model / "model.safetensors").read_bytes()
    port, secure = free_port(), free_port()
    text = Path(__file__).with_name("nginx.conf").read_text()
    for name, value in {
        "DIRECTORY": directory,
        "PORT": port,
        "SECURE": secure,
        "COMMIT": COMMIT,
        "WEIGHTS_SHA256": sha256(weights).hexdigest(),
        "WEIGHTS_SIZE": len(weights),
        "BLOBS": " ".join(f"~/{path.name}$ '\"{git_sha1(path)}\"';" for path in model.iterdir()),
    }.items():
        text = text.replace(name, str(value))
    configuration = directory / "nginx.conf"
    configuration.write_text(("user root;\n" if os.geteuid() == 0 else "") + text)
    log = directory / "nginx.log"
    process = started([binary, "-c", str(configuration), "-p", str(directory)], port, log)
    access = directory / "access.log"

    def requests() -> list[str]:
        """The lines of the log since the last call."""
        found = access.read_text().splitlines()
        access.write_text("")
        return found

    yield SimpleNamespace(
        url=f"http://127.0.0.1:{port}", secure=f"https://localhost:{secure}", ca=ca, requests=requests, port=port
    )
    process.terminate()
    process.wait(10)


def _write_hub(root: Path, model: Path) -> None:
    names = [path.name for path in model.iterdir()]
    siblings = [{"rfilename": name} for name in names]
    listing = json.dumps({"id": "me/toy", "sha": COMMIT, "siblings": siblings}).encode()
    tree = [
        {"type": "file", "path": name, "size": (model / name).stat().st_size, "oid": git_sha1(model / name)}
        for name in names
    ]
    api = root / "api" / "models" / "me" / "toy"
    for name, data in {
        "revision/main": listing,
        f"revision/{COMMIT}": listing,
        f"tree/{COMMIT}": json.dumps(tree).encode(),
    }.items():
        path = api / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data))
    for name in names:
        (model / f"{name}.gz").write_bytes(gzip.compress((model / name).read_bytes()))
    (root / "index.html").write_text("<!DOCTYPE html><html><body>Welcome</body></html>")


def _write_certificates(directory: Path) -> Path:
    """A certificate of localhost, by an authority of our own."""
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(directory, *new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(directory, *new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl(directory, "x509", "-req", "-in", "server.csr", "-days", "2", *signed, "-out", "server.pem")
    return directory / "ca.pem"


def openssl(directory: Path, *arguments: str) -> str:
    """What openssl prints; without it the test is skipped."""
    command = [program("openssl"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, cwd=directory, text=True).stdout


@pytest.fixture
def hub(nginx: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """nginx in the layout of the hub, with the repository ``me/toy``."""
    monkeypatch.setenv("HF_ENDPOINT", nginx.url)
    with suppress(FileNotFoundError):
        nginx.requests()
    return nginx


# --- Others -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """tinyproxy of this machine, which wants a password: its URL, and a function that returns its log."""
    binary, port = program("tinyproxy"), free_port()
    settings = tmp_path / "tinyproxy.conf"
    settings.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 30\nAllow 127.0.0.1\nLogLevel Connect\n"
        f'BasicAuth me S3CRET\nLogFile "{tmp_path / "proxy.log"}"\n'
    )
    process = started([binary, "-d", "-c", str(settings)], port, tmp_path / "tinyproxy.out")
    yield f"http://me:S3CRET@127.0.0.1:{port}", (tmp_path / "proxy.log").read_text
    process.terminate()
    process.wait(10)


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[str]:
    """S3 as moto plays it: the URL of its server."""
    binary, port = program("moto_server"), free_port()
    process = started([binary, "-H", "127.0.0.1", "-p", str(port)], port, tmp_path / "moto.log")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def hf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Runs code with the hub's own client, in a process of its own; its cache is where ours looks for it."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def run(code: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
