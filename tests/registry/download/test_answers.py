"""Answers that mean something else than they say, or say it in an unusual way."""

import gzip
import json
import zlib
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

import registry
from registry import Card, FileSpec, hookimpl
from registry.cache.cache import Cache
from registry.download import body
from registry.download.fetch import Policy, fetch
from registry.errors import (
    FetchError,
    HTTPStatusError,
    IntegrityError,
    MissingFileError,
    NotCachedError,
    RegistryWarning,
)
from registry.files.urls import normalized
from registry.sources.files import Files
from registry.sources.resolve import resolve

BODY = bytes(range(256)) * 4096
SHA = sha256(BODY).hexdigest()
COMMIT = "a" * 40
LISTING = "/api/models/me/toy/revision/main"


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def files(name: str, **options: Any) -> dict[str, bytes]:
    return {file: path.read_bytes() for file, path in Files(resolve(name), Policy(**options)).of().items()}


# --- Not modified -----------------------------------------------------------------------------------------------------


def test_a_304_that_nobody_asked_for_is_an_error_and_pins_nothing(server: Any, reply: Any, cache: Cache) -> None:
    url = server.add("/model.bin", reply(b"", 304, length=None, etag=None), BODY)
    with pytest.raises(HTTPStatusError, match="answers 304") as caught:
        fetch(url, Policy())
    assert caught.value.status == 304
    assert cache.entry(normalized(url)) is None
    assert fetch(url, Policy()).read_bytes() == BODY


def test_a_304_to_a_range_is_an_error_and_what_is_here_stays(server: Any, reply: Any, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000), reply(b"", 304, etag=None), BODY)
    with pytest.raises(HTTPStatusError):
        fetch(url, Policy())
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.headers("/model.bin")[2]["Range"] == "bytes=300000-"


# --- Absent, or refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410])
def test_what_a_server_does_not_have_is_not_requested_again(server: Any, reply: Any, status: int, cache: Cache) -> None:
    server.add("/toy/config.json", b"{}")
    server.add("/toy/vocab.txt", reply(b"", status))
    url = f"{server.url}/toy"
    assert set(files(url)) == {"config.json"}
    server.add("/toy/vocab.txt", b"a")
    server.forget()
    assert set(files(url)) == {"config.json"}
    assert server.count() == 0
    assert set(files(url, update=True)) == {"config.json", "vocab.txt"}


def test_pull_requests_what_a_server_did_not_have_and_nothing_that_is_here(
    server: Any, reply: Any, cache: Cache, naps: list[float]
) -> None:
    server.add("/toy/config.json", b"{}")
    server.add("/toy/vocab.txt", reply(b"", 404))
    url = f"{server.url}/toy"
    registry.pull(url)
    server.add("/toy/vocab.txt", b"a")
    server.forget()
    assert {path.name for path in registry.pull(url).iterdir()} == {"config.json", "vocab.txt"}
    assert "/toy/config.json" not in {request.path for request in server.requests}
    server.forget()
    assert files(url)["vocab.txt"] == b"a"
    assert server.count() == 0
    assert registry.pull(url, offline=True) == registry.pull(url)
    server.close()
    assert {path.name for path in registry.pull(url).iterdir()} == {"config.json", "vocab.txt"}
    assert naps == []


def test_a_refused_file_counts_as_absent_once_is_named_and_requested_again(
    server: Any, reply: Any, cache: Cache
) -> None:
    server.add("/toy/config.json", b"{}")
    server.add("/toy/vocab.txt", reply(b"", 403))
    url = f"{server.url}/toy"
    with pytest.warns(RegistryWarning, match=r"/toy answers 403 Forbidden for vocab\.txt"):
        assert set(files(url)) == {"config.json"}
    server.forget()
    with pytest.warns(RegistryWarning, match="403"):
        assert set(files(url)) == {"config.json"}
    assert [request.path for request in server.requests] == ["/toy/vocab.txt"]
    assert set(files(url, offline=True)) == {"config.json"}, "offline it is absent"
    server.add("/toy/vocab.txt", b"a")
    pulled = registry.pull(url)
    assert {path.name for path in pulled.iterdir()} == {"config.json", "vocab.txt"}
    server.forget()
    assert files(url)["vocab.txt"] == b"a"
    assert server.count() == 0


def test_a_server_that_is_gone_does_not_matter_for_a_refused_file(server: Any, reply: Any, cache: Cache, naps) -> None:
    server.add("/toy/config.json", b"{}")
    server.add("/toy/vocab.txt", reply(b"", 403))
    with pytest.warns(RegistryWarning, match="403"):
        files(f"{server.url}/toy")
    server.close()
    assert set(files(f"{server.url}/toy")) == {"config.json"}
    assert naps == []


def test_refused_weights_are_named_in_the_error(server: Any, reply: Any, cache: Cache) -> None:
    server.add("/toy/config.json", b"{}")
    server.add("/toy/model.safetensors", reply(b"", 403))
    with pytest.raises(MissingFileError, match=r"403 Forbidden for model\.safetensors"):
        Files(resolve(f"{server.url}/toy")).of("weights", "config")
    server.add("/toy/model.safetensors", BODY)
    assert set(Files(resolve(f"{server.url}/toy")).of("weights", "config")) == {"config.json", "model.safetensors"}


def test_a_private_bucket_is_called_that(server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_unknown", lambda _path: reply(b"<Error><Code>AccessDenied</Code></Error>", 403))
    with pytest.raises(MissingFileError, match=r"answers 403 Forbidden for config\.json"):
        files(f"{server.url}/bucket")


# --- Encoded ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_listing_may_come_compressed(hub: Any, reply: Any, cache: Cache, encoding: str, encode: Any) -> None:
    hub.hub("me/toy", {"config.json": b"{}"})
    listing = hub.replies[LISTING][0].body
    hub.add(LISTING, reply(encode(listing), headers={"Content-Encoding": encoding}, etag='W/"x"'))
    assert files("me/toy") == {"config.json": b"{}"}
    entry = cache.entry(f"https://huggingface.co{LISTING}")
    assert entry is not None
    assert cache.blob(entry.sha256).read_bytes() == listing


def test_a_compressed_listing_is_complete_and_bounded(
    hub: Any, reply: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(json.dumps({"sha": COMMIT, "siblings": []}).encode())
    gzipped = {"Content-Encoding": "gzip"}
    hub.add(LISTING, reply(packed[:-9], headers=gzipped))
    with pytest.raises(FetchError, match="was cut short"):
        files("me/toy")
    hub.add(LISTING, reply(b"x" + packed, headers=gzipped))
    with pytest.raises(FetchError, match="cannot be decoded"):
        files("me/toy")
    monkeypatch.setattr(body, "LARGEST_DECODED", 2**20)
    hub.add(LISTING, reply(gzip.compress(bytes(2**21)), headers=gzipped))
    with pytest.raises(FetchError, match="more than the allowed 1,048,576 bytes"):
        files("me/toy")
    hub.add(LISTING, reply(packed, headers={"Content-Encoding": "br"}))
    with pytest.raises(FetchError, match=r"sent with Content-Encoding: br"):
        files("me/toy")


def test_a_listing_of_more_values_than_a_repository_has_files_is_refused_before_it_is_parsed(
    hub: Any, reply: Any, cache: Cache, limits: Any
) -> None:
    hub.hub("me/toy", {"config.json": b"{}"})
    files("me/toy")  # imports what it needs
    listing = b'{"sha": "%s", "siblings": [%s{}]}' % (b"b" * 40, b"{}," * 4_000_000)
    hub.add(LISTING, reply(listing, etag=None))
    with limits(megabytes=100), pytest.raises(FetchError, match="holds more than 500,000 values"):
        files("me/toy", update=True)


def test_messages_name_the_server_that_was_asked(hub: Any, reply: Any) -> None:
    hub.hub("me/toy", {"model.safetensors": BODY, "config.json": b"{}"})
    path = f"/me/toy/resolve/{COMMIT}/config.json"
    hub.add(path, reply(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip\x1b[31m" + "x" * 500}))
    with pytest.raises(FetchError) as caught:
        files("me/toy")
    assert f"{hub.url}{path} was sent with Content-Encoding" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.message) < 300


# --- Without a length -------------------------------------------------------------------------------------------------


def test_the_digest_of_the_hub_is_enough_without_a_length(hub: Any, reply: Any, cache: Cache) -> None:
    linked = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{SHA}"'}
    url = hub.add("/large.bin", reply(BODY, length=None, headers=linked))
    assert fetch(url, Policy()).read_bytes() == BODY
    url = hub.add("/other.bin", reply(BODY[:-1], length=None, headers={**linked, "X-Linked-Etag": f'"{"0" * 64}"'}))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        fetch(url, Policy())


def test_the_size_that_the_hub_names_makes_a_cut_body_worth_another_attempt(hub: Any, reply: Any, cache: Cache) -> None:
    linked = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{SHA}"', "X-Linked-Size": str(len(BODY))}
    half = reply(BODY, length=None, cut=len(BODY) // 2, headers=linked)
    url = hub.add("/large.bin", half, reply(BODY, length=None, headers=linked))
    assert fetch(url, Policy()).read_bytes() == BODY
    assert hub.count("/large.bin") == 2


# --- Mirrors ----------------------------------------------------------------------------------------------------------


def declare(*servers: str) -> None:
    """The card of the model ``toy``, with the same three files on each of these servers."""
    names = {"config": "config.json", "weights": "model.safetensors", "vocab": "vocab.txt"}
    listed = tuple(
        FileSpec(role=role, filename=name, urls=tuple(f"{server}/toy/{name}" for server in servers), sha256=SHA)
        for role, name in names.items()
    )
    card = Card(name="toy", architecture="toy", task="base", files=listed)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")


def test_a_mirror_in_trouble_is_asked_once_before_the_next(
    server: Any, other_server: Any, reply: Any, naps: list[float]
) -> None:
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        server.add(f"/toy/{name}", reply(b"", 503))
        other_server.add(f"/toy/{name}", BODY)
    declare(server.url, other_server.url)
    assert set(files("toy").values()) == {BODY}
    assert server.count() <= 3
    assert other_server.count() <= 3
    assert naps == []


def test_mirrors_are_waited_for_when_all_are_in_trouble(
    server: Any, other_server: Any, reply: Any, naps: list[float]
) -> None:
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        server.add(f"/toy/{name}", reply(b"", 404))
        other_server.add(f"/toy/{name}", reply(b"", 503), reply(b"", 503), BODY)
    declare(server.url, other_server.url)
    assert set(files("toy").values()) == {BODY}
    assert other_server.count("/toy/config.json") == 3
    assert server.count("/toy/config.json") == 1, "its answer is final"


def test_when_all_mirrors_fail_each_is_named(server: Any, other_server: Any, reply: Any, naps: list[float]) -> None:
    declare(server.url, other_server.url)
    other_server.add("/toy/config.json", reply(b"", 503))
    with pytest.raises(FetchError) as caught:
        files("toy")
    for server_, status in ((server, 404), (other_server, 503)):
        assert f"{server_.url.removeprefix('http://')} answers {status}" in str(caught.value)
        assert f"{server_.url}/toy/config.json answers {status}" in str(caught.value.details)
    assert not isinstance(caught.value, NotCachedError)
