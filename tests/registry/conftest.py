"""Pretended installations, a server on loopback, an empty cache, and what is written, as the interpreter reports it."""

import hashlib
import itertools
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from registry import discovery
from registry.cache import locks
from registry.cache.cache import Cache
from registry.download import retries

Install = Callable[..., Path]

TOY = """
from registry import Card, hookimpl

@hookimpl
def registry_cards():
    yield Card(name="toy", architecture="toy", task="base", files=())
"""


@pytest.fixture(autouse=True)
def _fresh_discovery() -> Iterator[None]:
    """Leave nothing of one test's plugins to the next."""
    discovery.refresh()
    with discovery.isolated():
        yield


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a pretended distribution with one plugin; returns the folder that is now on ``sys.path``.

    ``plugin`` is the name of the entry point and of the module, which holds ``source``; ``metadata`` and
    ``entry_points`` replace the text of those files.  Each installation goes before the earlier ones on ``sys.path``.
    """
    numbers = itertools.count()

    def install(
        distribution: str,
        source: str = TOY,
        *,
        plugin: str = "toy_plugin",
        version: str = "1.0",
        value: str | None = None,
        metadata: str | None = None,
        entry_points: str | bytes | None = None,
    ) -> Path:
        site = tmp_path / f"site-{next(numbers)}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        if entry_points is None:
            entry_points = f"[registry.v1]\n{plugin} = {value or plugin}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_bytes(
            entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        )
        (site / f"{plugin}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        discovery.refresh()
        return site

    yield install
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


# --- Files and servers


def _sibling(name: str) -> ModuleType:
    """A module of this folder, which is not a package."""
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
    monkeypatch.setattr(retries, "sleep", seconds.append)
    return seconds


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> None:
    """Loopback may be used, without proxies and certificates of this machine."""
    for name in ("HF_HUB_OFFLINE", "REGISTRY_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    locks._warned.clear()


_WRITES = {
    f"os.{name}" for name in ("mkdir", "rename", "remove", "rmdir", "link", "symlink", "chmod", "utime", "truncate")
}
_heard: list[list[str]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _heard:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in _WRITES or event.startswith("socket."):
        _heard[-1].append(f"{event} {arguments[0]}")


sys.addaudithook(_hear)


@pytest.fixture
def audited() -> Callable[[], AbstractContextManager[list[str]]]:
    """``with audited() as events``: what is written, and which sockets are opened, as the interpreter reports it."""

    @contextmanager
    def watch() -> Iterator[list[str]]:
        _heard.append([])
        try:
            yield _heard[-1]
        finally:
            _heard.pop()

    return watch


@pytest.fixture
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everybody reaches, and in which a test that root runs goes on as the user nobody."""
    folder = Path(tempfile.mkdtemp(prefix="registry-nobody-"))
    folder.chmod(0o777)
    is_root = os.geteuid() == 0
    if is_root:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``small_disk("size=1m")``: a disk of its own, with the options of a tmpfs."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if made.returncode:
            pytest.skip("only root may mount the small disk that this fault needs")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
