"""Fixtures of the tests of files: a server on loopback, an empty cache, and no waiting between attempts."""

import hashlib
import re
import shutil
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from registry.files import download, locks
from registry.files.cache import Cache


def _sibling(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = spec_from_file_location(f"registry_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


serving = _sibling("server")


@pytest.fixture
def server() -> Iterator["serving.Server"]:
    """A server at 127.0.0.1; see ``server.py``."""
    found = serving.Server()
    yield found
    found.close()


@pytest.fixture
def other_server() -> Iterator["serving.Server"]:
    """A server at another host, 127.0.0.2."""
    found = serving.Server("127.0.0.2")
    yield found
    found.close()


@pytest.fixture
def reply() -> type:
    """The class of answers of ``server``."""
    return serving.Reply


@pytest.fixture
def tls_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator["serving.Server"]:
    """A server at https://localhost, whose certificate only this test trusts; needs the program openssl."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed to make a certificate")
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    found = serving.Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    found.secure(context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    yield found
    found.close()


@pytest.fixture
def cache() -> Iterator[Cache]:
    """The cache of this test, empty; when the test ends, a blob's name must be its digest, and a ref's blob whole."""
    found = Cache.at()
    yield found
    check(found)


def check(cache: Cache) -> None:
    """The invariants of a cache: nothing under a final name is anything but whole."""
    for blob in (cache.home / "blobs").glob("*/*"):
        if blob.is_file() and not blob.name.endswith(".tmp"):
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    for entry in cache.entries():
        path = cache.blob(entry.sha256) if entry.path is None else Path(entry.path)
        assert not path.is_file() or path.stat().st_size == entry.size


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between attempts, in none of which anything waited."""
    seconds: list[float] = []
    monkeypatch.setattr(download, "sleep", seconds.append)
    return seconds


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> None:
    """Loopback may be used, without proxies."""
    for name in ("HF_HUB_OFFLINE", "REGISTRY_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    locks._warned.clear()


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print how many faults were tried, by group: tests whose names begin with the id of one."""
    ids: dict[str, set[str]] = {}
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        found = re.search(r"::test_([a-z])(\d\d)_", report.nodeid)
        if found:
            ids.setdefault(found[1].upper(), set()).add(found[2])
    if ids:
        groups = Counter({group: len(numbers) for group, numbers in ids.items()})
        words = ", ".join(f"{group} {number}" for group, number in sorted(groups.items()))
        terminalreporter.write_line(f"faults tried: {groups.total()} ({words})")
