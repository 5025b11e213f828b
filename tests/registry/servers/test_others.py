"""Through a proxy, and against S3."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

import registry
from registry.download.fetch import Policy, fetch
from registry.errors import FetchError, MissingFileError


def test_a_proxy_with_a_password_is_used_for_http_and_https(
    nginx: SimpleNamespace, model: Path, tinyproxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, log = tinyproxy
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.ca))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    assert fetch(f"{nginx.url}/toy/config.json", Policy()).read_bytes() == (model / "config.json").read_bytes()
    assert registry.load(f"{nginx.secure}/toy").tokenizer is not None
    assert "CONNECT localhost" in log()
    assert "GET http://127.0.0.1" in log()
    wrong = proxy.replace("S3CRET", "S3CRETx")
    for name, url in (("http_proxy", nginx.url), ("https_proxy", nginx.secure)):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(FetchError) as caught:
            fetch(f"{url}/toy/vocab.txt?{name}", Policy())
        assert "S3CRET" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch(f"{nginx.url}/toy/vocab.txt", Policy()).is_file()


def put(url: str, data: bytes = b"", **headers: str) -> None:
    requests.put(url, data=data, headers=headers, timeout=20).raise_for_status()


def test_a_public_directory_in_s3_loads_and_a_private_one_is_called_that(moto: str, model: Path) -> None:
    for bucket, acl in (("public", "public-read"), ("private", "private")):
        put(f"{moto}/{bucket}", **{"x-amz-acl": acl})
        for path in (path for path in model.iterdir() if path.suffix != ".gz"):
            put(f"{moto}/{bucket}/toy/{path.name}", path.read_bytes(), **{"x-amz-acl": acl})
    loaded = registry.load(f"{moto}/public/toy")
    assert loaded.tokenizer.tokenize("paris") == ["paris"]
    with pytest.raises(MissingFileError, match="answers 403 Forbidden for"):
        registry.load(f"{moto}/private/toy")
