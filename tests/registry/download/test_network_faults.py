"""What a network does wrong, and what must then happen.

After each fault the three invariants of the cache hold: the fixture ``cache`` checks them when a test ends.
"""

import gzip
import hashlib
import logging
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import registry
from registry.cache.cache import Cache
from registry.cache.layout import key
from registry.download import body, http
from registry.download.fetch import Policy, cached_path, fetch
from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    IntegrityError,
    NotCachedError,
    RegistryWarning,
    UnexpectedContentError,
    UnsafeURLError,
)
from registry.files.urls import normalized, redacted

BODY = bytes(range(256)) * 4096
OTHER = bytes(reversed(BODY))
SHA = hashlib.sha256(BODY).hexdigest()

UPDATE = Policy(update=True)


def refused() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/model.bin"


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1") + body


# --- Servers that cannot be reached, or refuse ------------------------------------------------------------------------


def test_a_dead_server_does_not_matter_for_what_is_cached(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    server.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch(url, Policy()) == path
    with pytest.warns(RegistryWarning, match="in the cache is used") as told:
        assert fetch(url, UPDATE) == path
    assert len(told) == 1


def test_a_dead_server_and_an_empty_cache_are_told_apart_from_nothing(cache: Cache, naps: list[float]) -> None:
    url = refused()
    with pytest.raises(NotCachedError, match=r"127\.0\.0\.1.*cannot be reached") as error:
        fetch(url, Policy())
    assert str(cache.directory) in str(error.value.details)
    assert error.value.__cause__ is not None
    assert len(naps) == 2, "three attempts"
    with pytest.raises(NotCachedError, match="cannot be reached"):
        fetch("http://no-such-host.invalid/model.bin", Policy())


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_told_at_once(server, reply, cache: Cache, naps: list[float], status: int) -> None:
    url = server.add("/model.bin", reply(b"<html>no</html>", status))
    with pytest.raises(HTTPStatusError) as error:
        fetch(url, Policy())
    assert (error.value.status, server.count(), naps) == (status, 1, [])


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_locked_is_told_at_once_with_the_way_in(
    server, reply, cache: Cache, naps, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    url = server.add("/model.bin", reply(b"", status))
    with pytest.raises(HTTPStatusError, match="user:password@") as error:
        fetch(url, Policy())
    assert (error.value.status, server.count(), naps) == (status, 1, [])
    assert "HF_TOKEN" not in str(error.value), "which is of the hub"
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.add("/me/toy/resolve/main/x.bin", reply(b"", status))
    with pytest.raises(HTTPStatusError, match="HF_TOKEN") as error:
        fetch("hub:me/toy/x.bin", Policy())
    assert error.value.status == status


def test_passing_troubles_of_a_server_are_waited_out(server, reply, cache: Cache, naps: list[float]) -> None:
    troubles = [reply(b"", status) for status in (500, 502, 503, 504)]
    url = server.add("/model.bin", *troubles, BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert len(naps) == 4
    for wait, longest in zip(naps, (1, 2, 4, 8), strict=True):
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize("status", [429, 500, 504, 520, 526])
def test_a_server_in_trouble_is_tried_again_and_does_not_take_what_is_cached(server, reply, cache, status: int) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    server.forget()
    server.add("/model.bin", reply(b"", status))
    with pytest.warns(RegistryWarning, match=f"{status}.*in the cache is used"):
        assert fetch(url, UPDATE) == path
    assert server.count() == 5
    assert path.read_bytes() == BODY


def test_a_server_that_refuses_an_update_is_told_at_once(server, reply, cache: Cache, naps: list[float]) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    server.add("/model.bin", reply(b"", 501))
    with pytest.raises(HTTPStatusError) as error:
        fetch(url, UPDATE)
    assert (error.value.status, server.count(), naps) == (501, 2, [])


def test_a_server_that_asks_for_a_pause_gets_it(server, reply, cache: Cache, naps: list[float]) -> None:
    url = server.add("/model.bin", reply(b"", 429, {"Retry-After": "7"}), BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert naps == [7.0]


def test_dates_are_honoured_nonsense_is_not_and_hours_are_refused(server, reply, cache, naps: list[float]) -> None:
    in_20_s = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    url = server.add("/a.bin", *(reply(b"", 429, {"Retry-After": v}) for v in (in_20_s, "soon", "-5")), BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert 15 < naps[0] <= 20
    assert naps[1] <= 2
    assert naps[2] <= 4
    url = server.add("/b.bin", reply(b"", 429, {"Retry-After": "86400"}))
    with pytest.raises(HTTPStatusError) as error:
        fetch(url, Policy())
    assert error.value.retry_after == 86400
    assert (server.count("/b.bin"), len(naps)) == (1, 3)


# --- Bodies that are not whole ----------------------------------------------------------------------------------------


def test_a_body_cut_short_is_resumed(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000), BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.headers("/model.bin")[1]["Range"] == "bytes=300000-"
    assert server.sent["/model.bin"] == len(BODY)


def test_a_body_cut_again_and_again_is_incomplete(server, reply, cache: Cache, naps: list[float]) -> None:
    url = server.add("/model.bin", reply(BODY, cut=1000, etag=None))
    with pytest.raises(IncompleteDownloadError) as error:
        fetch(url, Policy())
    assert (error.value.got, error.value.expected, server.count()) == (1000, len(BODY), 5)
    assert cache.find(normalized(url)) is None


def test_a_connection_that_is_reset_is_resumed(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000, reset=True), BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.count() == 2


def test_without_a_length_only_a_promise_tells_that_it_is_all(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, length=None))
    with pytest.raises(IntegrityError, match="whether that is the complete file is unknown"):
        fetch(url, Policy())
    assert fetch(url, Policy(), size=len(BODY)).read_bytes() == BODY
    short = server.add("/short.bin", reply(BODY, length=None, cut=1000, etag=None))
    for promise in ({"sha256": SHA}, {"size": len(BODY)}):
        with pytest.raises(IntegrityError):
            fetch(short, Policy(update=True), **promise)
    assert cache.entry(normalized(short)) is None


def test_chunks_without_the_last_one_are_not_all(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, chunked=True, cut=300_000, etag=None))
    with pytest.raises(IncompleteDownloadError) as error:
        fetch(url, Policy())
    assert error.value.expected is None
    url = server.add("/whole.bin", reply(BODY, chunked=True))
    assert fetch(url, Policy()).read_bytes() == BODY


def test_more_than_was_promised_is_refused(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, chunked=True))
    with pytest.raises(IntegrityError, match="more than the allowed 1,000 bytes"):
        fetch(url, Policy(), size=1000)
    url = server.add("/announced.bin", BODY)
    with pytest.raises(IntegrityError, match="the expected 1,000"):
        fetch(url, Policy(), size=1000)


def test_an_endless_body_ends(server, reply, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "LARGEST", 2**20)
    url = server.add("/model.bin", reply(iter(lambda: b"x" * 65536, None), chunked=True))
    with pytest.raises(IntegrityError, match="more than the allowed 1,048,576 bytes"):
        fetch(url, Policy())


@pytest.mark.parametrize("length", ["banana", "-5"])
def test_a_length_that_is_no_number_is_no_length(server, reply, cache: Cache, length: str) -> None:
    url = server.add("/model.bin", reply(raw=raw(f"Content-Length: {length}", "Connection: close", body=BODY)))
    with pytest.raises(IntegrityError, match="whether that is the complete file is unknown"):
        fetch(url, Policy())
    assert fetch(url, Policy(), sha256=SHA).read_bytes() == BODY


def test_two_lengths_are_refused(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(raw=raw("Content-Length: 5", "Content-Length: 9", body=b"123456789")))
    with pytest.raises(FetchError):
        fetch(url, Policy())
    assert cache.entry(url) is None


def test_an_encoding_that_nobody_asked_for_is_refused(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(gzip.compress(BODY), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(FetchError, match="gzip"):
        fetch(url, Policy())
    assert server.headers("/model.bin")[0]["Accept-Encoding"] == "identity"


# --- Resuming ---------------------------------------------------------------------------------------------------------


def test_a_server_that_ignores_ranges_starts_again(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000), reply(BODY, ranges=False))
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.sent["/model.bin"] == 300_000 + len(BODY)


def test_the_wrong_part_is_refused(server, reply, cache: Cache) -> None:
    wrong = reply(BODY[5:], 206, {"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"}, etag=f'"{SHA}"')
    url = server.add("/model.bin", wrong)
    with pytest.raises(IntegrityError, match="bytes from 5 on, but those from 0 on were requested"):
        fetch(url, Policy())
    assert not list((cache.home / "partial").iterdir())


def test_a_part_of_another_content_is_never_joined(server, reply, cache: Cache) -> None:
    url = server.add("/new.bin", reply(BODY, cut=300_000), reply(OTHER))  # If-Range makes it a 200
    assert fetch(url, Policy()).read_bytes() == OTHER
    for name, headers, etag in (
        ("total", {"Content-Range": f"bytes 300000-{len(BODY)}/{len(BODY) + 1}"}, f'"{SHA}"'),
        ("etag", {"Content-Range": f"bytes 300000-{len(BODY) - 1}/{len(BODY)}"}, '"another"'),
    ):
        part = reply(BODY[300_000:], 206, headers, etag=etag)
        url = server.add(f"/{name}.bin", reply(BODY, cut=300_000), part)
        with pytest.raises(IntegrityError):
            fetch(url, Policy())
        assert cache.entry(url) is None


def test_a_part_that_is_wrong_again_is_an_error(server, reply, cache: Cache) -> None:
    rest = {"Content-Range": f"bytes 7-{len(BODY) - 1}/{len(BODY)}"}
    cut, wrong = reply(BODY, cut=300_000), reply(BODY[7:], 206, rest, etag=f'"{SHA}"')
    url = server.add("/model.bin", cut, wrong, cut, wrong, BODY)
    with pytest.raises(IntegrityError, match="bytes from 7 on, but those from 300,000 on were requested"):
        fetch(url, Policy())
    assert server.count() == 4


def test_a_part_that_is_too_long_is_dropped_once(server, reply, cache: Cache) -> None:
    gone = reply(b"", 416, {"Content-Range": "bytes */5"})
    url = server.add("/model.bin", reply(BODY, cut=300_000), gone, BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert "Range" not in server.headers("/model.bin")[2]
    url = server.add("/always.bin", reply(OTHER, cut=300_000), gone)
    with pytest.raises(HTTPStatusError) as error:
        fetch(url, Policy())
    assert error.value.status == 416


def test_a_range_under_status_200_counts(server, reply, cache: Cache) -> None:
    rest = {"Content-Range": f"bytes 300000-{len(BODY) - 1}/{len(BODY)}"}
    url = server.add(
        "/right.bin",
        reply(BODY, cut=300_000),
        reply(BODY[300_000:], headers=rest, etag=f'"{SHA}"', ranges=False),
    )
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.sent["/right.bin"] == len(BODY)
    wrong = {"Content-Range": f"bytes 7-{len(BODY) - 1}/{len(BODY)}"}
    url = server.add("/wrong.bin", reply(BODY, cut=300_000), reply(BODY[7:], headers=wrong, ranges=False), BODY)
    assert fetch(url, Policy()).read_bytes() == BODY


# --- Names of contents ------------------------------------------------------------------------------------------------


def test_without_an_etag_a_later_call_starts_again(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000, etag=None))
    with pytest.raises(IncompleteDownloadError):
        fetch(url, Policy())
    assert not list((cache.home / "partial").iterdir())
    server.add("/model.bin", reply(BODY, etag=None))
    assert fetch(url, Policy()).read_bytes() == BODY
    assert cache.entry(url).etag is None


@pytest.mark.parametrize(
    "etag", ['W/"x"', "bare", '"a/../../b"', '".."', '"' + "x" * 4096 + '"', '"\xe9"', '""', '"\\"']
)
def test_no_etag_becomes_a_path_and_a_weak_one_joins_nothing(server, reply, cache: Cache, etag: str) -> None:
    url = server.add("/model.bin", reply(BODY, cut=300_000, etag=etag), reply(BODY, etag=etag))
    assert fetch(url, Policy()).read_bytes() == BODY
    if etag.startswith("W/"):
        assert "If-Range" not in server.headers("/model.bin")[1]
    outside = [path for path in cache.directory.parent.rglob("*") if cache.home not in (path, *path.parents)]
    assert {path.name for path in outside} <= {"cache", ".registry", "CACHEDIR.TAG"}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(etag=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f\x85\xa0"), max_size=40))
def test_any_etag_is_survived(server, reply, cache: Cache, etag: str) -> None:
    url = server.add(f"/{key(etag)}.bin", reply(b"x" * 100, etag=etag or None))
    assert fetch(url, Policy()).read_bytes() == b"x" * 100
    assert cache.entry(url).size == 100


def test_an_etag_that_stays_while_the_content_changes_hides_nothing(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(BODY, etag='"same"'))
    fetch(url, Policy())
    server.add("/model.bin", reply(OTHER, etag='"same"'))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        fetch(url, UPDATE, sha256=SHA)
    assert fetch(url, Policy()).read_bytes() == BODY
    with pytest.warns(RegistryWarning, match=rf"model\.bin changed.*{SHA}"):
        folder = registry.pull(url, update=True)
    assert (folder / "model.bin").read_bytes() == OTHER
    assert fetch(url, Policy()).read_bytes() == OTHER


def test_no_head_request_is_made(server, cache: Cache) -> None:
    fetch(server.add("/model.bin", BODY), Policy())
    assert [request.method for request in server.requests] == ["GET"]


def test_only_the_headers_of_the_get_count(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy())
    assert cache.entry(url).etag == SHA
    assert all(request.method == "GET" for request in server.requests), "a HEAD could only lie"


# --- Redirects and credentials ----------------------------------------------------------------------------------------


def test_no_server_leads_from_https_to_http(server, reply, cache: Cache, tls_server) -> None:
    url = tls_server.add("/model.bin", reply(status=302, location=server.add("/plain.bin", BODY)))
    with pytest.raises(UnsafeURLError, match="not encrypted"):
        fetch(url, Policy())
    assert server.count() == 0


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://h/x", "gopher://h/x", "data:text/plain,x", "//[", "javascript:1"]
)
def test_no_server_leads_out_of_the_web(server, reply, cache: Cache, target: str) -> None:
    url = server.add("/model.bin", reply(status=302, location=target))
    with pytest.raises(UnsafeURLError, match="redirects to"):
        fetch(url, Policy())


def test_redirects_end(server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(status=302, location="/model.bin"))
    with pytest.raises(FetchError, match="more than 5"):
        fetch(url, Policy())
    for hop in range(6):
        server.add(f"/{hop}", reply(status=302, location=f"/{hop + 1}"))
    server.add("/6", BODY)
    with pytest.raises(FetchError, match="more than 5"):
        fetch(f"{server.url}/0", Policy())
    assert fetch(f"{server.url}/1", Policy()).read_bytes() == BODY


def test_credentials_go_to_the_server_they_are_for(server, other_server, reply, cache, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    there = other_server.add("/cdn.bin", BODY)
    cookie = {"Set-Cookie": "session=secret"}
    server.add("/me/toy/resolve/main/model.bin", reply(status=302, location=there, headers=cookie))
    fetch("hub:me/toy/model.bin", Policy())
    fetch(server.add("/again.bin", BODY), Policy())
    first, again = (server.headers(p)[0] for p in ("/me/toy/resolve/main/model.bin", "/again.bin"))
    assert first["Authorization"] == "Bearer hf_secret"
    assert not {"Authorization", "Cookie"} & set(other_server.headers("/cdn.bin")[0])
    assert "Cookie" not in again
    named = server.url.replace("//", "//user:pass@") + "/named.bin"
    server.add("/named.bin", reply(status=302, location=there))
    fetch(named, UPDATE)
    assert not {"Authorization", "Cookie"} & set(other_server.headers("/cdn.bin")[-1])


def test_a_mirror_may_stand_in_a_private_network(server, other_server, reply, cache: Cache) -> None:
    url = server.add("/model.bin", reply(status=302, location=other_server.add("/m.bin", BODY)))
    assert fetch(url, Policy()).read_bytes() == BODY


def test_user_names_are_sent_but_never_shown_and_netrc_is_not_read(
    server, reply, cache, monkeypatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, naps
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login netrc password netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    caplog.set_level(logging.DEBUG, "registry")
    fetch(server.add("/plain.bin", BODY), Policy())
    assert "Authorization" not in server.headers("/plain.bin")[0]
    named = server.url.replace("//", "//user:p4ss@") + "/named.bin"
    server.add("/named.bin", reply(b"", 500), BODY)
    fetch(named, Policy())
    assert server.headers("/named.bin")[0]["Authorization"].startswith("Basic ")
    server.add("/named.bin", reply(b"", 404))
    with pytest.raises(HTTPStatusError) as error:
        fetch(named, UPDATE)
    stored = "".join(path.read_text() for path in (cache.home / "refs").iterdir())
    assert "p4ss" not in f"{error.value}{caplog.text}{stored}"
    assert "attempt" in caplog.text or "trying again" in caplog.text


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "nonsense://x", "407"])
def test_a_wrong_proxy_is_told_and_hides_behind_no_cache(server, reply, cache, monkeypatch, proxy: str) -> None:
    url = "http://models.example/model.bin"
    if proxy == "407":
        server.add("/model.bin", reply(b"", 407))
        proxy = server.url
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(FetchError) as error:
        fetch(url, Policy())
    assert not isinstance(error.value, NotCachedError)
    if isinstance(error.value, HTTPStatusError):
        assert error.value.status == 407
    assert "PROXY" in str(error.value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch(server.add("/direct.bin", BODY), Policy()).read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "said", "advice"),
    [
        (b"407 Proxy Authentication Required", "(407 Proxy Authentication Required)", "http://user:password@host:port"),
        (b"403 Forbidden", "(403 Forbidden)", "say which proxy is used"),
    ],
)
def test_a_proxy_that_refuses_https_is_told_in_three_lines(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str, advice: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            with suppress(OSError):  # the server is closed
                while True:
                    connection, _ = proxy.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(FetchError) as caught:
            fetch("https://models.example/model.bin", Policy())
    first, second, third = str(caught.value).splitlines()
    assert first == f"models.example cannot be reached through the proxy {said}."
    assert second == "Wanted: https://models.example/model.bin."
    assert third.removesuffix(".").endswith(advice)


@pytest.mark.parametrize("name", ["model.bin", "config.json", "model.safetensors"])
def test_the_page_of_a_hotel_is_no_model(server, reply, cache: Cache, name: str) -> None:
    page = b"\n<!DOCTYPE html><title>Welcome to our network</title>"
    url = server.add(f"/{name}", reply(page, headers={"Content-Type": "text/html"}))
    with pytest.raises(UnexpectedContentError, match="looks like an HTML page"):
        fetch(url, Policy())
    with pytest.raises(IntegrityError):
        fetch(url, Policy(), sha256=SHA)
    assert cache.entry(url) is None


def test_the_pointer_of_git_lfs_is_no_model(server, cache: Cache) -> None:
    url = server.add("/model.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(UnexpectedContentError, match=r"looks like a git-lfs pointer .*`git lfs pull`"):
        fetch(url, Policy())


# --- Slow servers -----------------------------------------------------------------------------------------------------


def test_a_silent_server_is_given_up_and_gone_on_with_later(server, reply, cache, monkeypatch) -> None:
    patience = http.READ_SECONDS
    monkeypatch.setattr(http, "READ_SECONDS", 1.0)
    url = server.add("/model.bin", reply(BODY, stall=(300_000, 60)), reply(BODY, stall=(0, 60)))
    with pytest.raises(DownloadTimeoutError, match="stalled after 300,000 bytes"):
        fetch(url, Policy())
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(DownloadTimeoutError, match="stalled: no answer"),
    ):
        fetch(f"http://127.0.0.1:{mute.getsockname()[1]}/model.bin", Policy())
    monkeypatch.setattr(http, "READ_SECONDS", patience)
    server.add("/model.bin", BODY)
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.headers("/model.bin")[-1]["Range"] == "bytes=300000-"


def test_a_trickle_is_given_up(server, reply, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def now() -> float:
        clock[0] += 7.0
        return clock[0]

    monkeypatch.setattr(body, "now", now)

    class Trickle:
        def __iter__(self):
            while not server.stop.is_set():
                yield b"x"
                time.sleep(0.01)

    url = server.add("/model.bin", reply(Trickle(), length="1000000"))
    with pytest.raises(DownloadTimeoutError, match=r"\d+ bytes in 63 s"):
        fetch(url, Policy())


def test_a_server_that_cannot_prove_itself_is_not_asked_again(tls_server, cache, naps, monkeypatch) -> None:
    url = tls_server.add("/model.bin", BODY)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(FetchError, match="failed TLS certificate verification"):
        fetch(url, Policy())
    assert (naps, tls_server.count()) == ([], 0)


@pytest.mark.parametrize(
    "answer",
    [
        raw("X: " + "x" * 70_000, body=BODY),
        raw(*(f"X-{n}: 1" for n in range(300)), body=BODY),
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x00" * 100,
        b"",
    ],
)
def test_what_is_no_http_is_refused(server, reply, cache: Cache, answer: bytes) -> None:
    url = server.add("/model.bin", reply(raw=answer))
    with pytest.raises(FetchError) as error:
        fetch(url, Policy())
    assert not isinstance(error.value, NotCachedError)


# --- Addresses --------------------------------------------------------------------------------------------------------


def test_no_server_names_our_files(server, reply, cache: Cache) -> None:
    headers = {"Content-Disposition": 'attachment; filename="../../evil"'}
    path = fetch(server.add("/model.bin", reply(BODY, headers=headers)), Policy())
    assert path == cache.blob(SHA)


def test_what_stands_in_a_query_is_never_shown(server, reply, cache: Cache, caplog) -> None:
    caplog.set_level(logging.DEBUG, "registry")
    server.add("/model.bin", reply(b"", 503), BODY)
    url = f"{server.url}/model.bin?X-Signature=s3cret&n=1"
    fetch(url, Policy())
    server.add("/model.bin", reply(b"", 404))
    with pytest.raises(HTTPStatusError) as error:
        fetch(url, UPDATE)
    stored = "".join(path.read_text() for path in (cache.home / "refs").iterdir())
    assert "s3cret" not in f"{error.value}{caplog.text}{stored}"
    assert fetch(f"{server.url}/model.bin?X-Signature=s3cret&n=1#top", Policy()).read_bytes() == BODY


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("HTTPS://Example.ORG./A b", "https://example.org/A%20b"),
        ("https://example.org:443/a#fragment", "https://example.org/a"),
        ("http://example.org:80", "http://example.org/"),
        ("http://example.org:8080/a?b=c d", "http://example.org:8080/a?b=c%20d"),
        ("https://b\u00fccher.example/\u00e9", "https://xn--bcher-kva.example/%C3%A9"),
        ("https://[::1]:8443/a%20b", "https://[::1]:8443/a%20b"),
    ],
)
def test_an_address_has_one_spelling(given: str, expected: str) -> None:
    assert normalized(given) == expected


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.org/{text}"):
        try:
            once = normalized(url)
        except UnsafeURLError:
            continue
        assert normalized(once) == once
        assert redacted(once)


def test_what_needs_another_protocol_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsafeURLError, match="https: URL of the same object"):
        cached_path("s3://bucket/model.bin")
    code = (
        "import registry, sys\ntry:\n registry.cached_path('s3://b/m')\nexcept OSError: print('boto3' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
