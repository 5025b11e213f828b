"""A server on loopback that serves as the hub and S3 do, and fails in every way that a test asks for."""

import hashlib
import itertools
import json
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

AUTO = "auto"


@dataclass(frozen=True)
class Reply:
    """One answer, and what is wrong with it."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    etag: str | None = AUTO
    """``auto`` is the quoted sha256 of the body; None sends none."""
    length: str | None = AUTO
    """``auto`` is the truth; None sends none, and the body ends with the connection."""
    chunked: bool = False
    ranges: bool = True
    """Whether Range and If-Range are honoured."""
    cut: int | None = None
    """Bytes after which the connection ends."""
    reset: bool = False
    """Whether it ends with RST."""
    stall: tuple[int, float] | None = None
    """After so many bytes, say nothing for so many seconds."""
    raw: bytes | None = None
    """Bytes to send in place of an answer."""
    location: str | None = None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class Server:
    """Answers by path; each path has one reply, or a sequence of which the last is repeated."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        """Bytes of bodies by path."""
        self.stop = Event()
        self.lock = Lock()
        self.gate: Barrier | None = None
        self.connections: list[socket.socket] = []
        self._http = ThreadingHTTPServer((host, 0), _handler(self))
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that hangs up is what many tests want
        self.url = f"http://{host}:{self._http.server_port}"
        Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def add(self, path: str, *replies: Reply | bytes, **fields: Any) -> str:
        """Answer a path so from now on; returns its URL."""
        made = [replace(r, **fields) if isinstance(r, Reply) else Reply(r, **fields) for r in replies or (b"",)]
        self.replies[path] = made
        return self.url + path

    def count(self, path: str | None = None) -> int:
        """Requests for a path, or all."""
        return sum(path in (None, request.path) for request in self.requests)

    def headers(self, path: str) -> list[Mapping[str, str]]:
        """The headers of each request for a path."""
        return [request.headers for request in self.requests if request.path == path]

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()
        self.sent.clear()

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS, as localhost."""
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._http.server_port}"

    def close(self) -> None:
        self.stop.set()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.shutdown()
        self._http.server_close()

    # --- As others serve

    def s3(self, path: str, body: bytes) -> str:
        """An object of S3: its ETag is the md5 in quotes."""
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return self.add(path, Reply(body, etag=f'"{etag}"', headers={"Server": "AmazonS3", "Accept-Ranges": "bytes"}))

    def hub(
        self,
        repository: str,
        files: Mapping[str, bytes],
        *,
        commit: str = "a" * 40,
        branch: str = "main",
        cdn: "Server | None" = None,
        large: Iterable[str] = (".safetensors", ".bin"),
    ) -> None:
        """A repository of the hub: small files by a relative 307, large ones by a 302 to another host."""
        listing = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        for revision, name in itertools.product((branch, commit), (*files, None)):
            if name is None:
                self.add(f"/api/models/{repository}/revision/{revision}", json.dumps(listing).encode(), etag='W/"x"')
                continue
            body, path = files[name], f"/{repository}/resolve/{revision}/{name}"
            if name.endswith(tuple(large)):
                host, there = cdn or self, f"/cdn/{hashlib.sha256(body).hexdigest()}"
                host.add(there, body, etag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
                linked = {"X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Linked-Size": str(len(body))}
                headers = {"X-Repo-Commit": commit, **linked}
                self.add(path, status=302, headers=headers, location=f"{host.url}{there}?Signature=secret", etag=None)
            else:
                blob = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
                there = f"/api/resolve-cache/models/{repository}/{commit}/{name}"
                headers = {"X-Repo-Commit": commit, "ETag": f'"{blob}"'}
                self.add(there, body, etag=None, headers=headers)
                self.add(path, status=307, headers=headers, location=f"{there}?etag=%22{blob}%22", etag=None)

    def answer(self, path: str) -> Reply:
        """The reply that is due."""
        with self.lock:
            replies = self.replies.get(path)
            if replies is None:
                return self._unknown(path)
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def _unknown(self, path: str) -> Reply:
        """What the hub says of what it has not: 401 for repositories, 404 for files of one that it has."""
        found = re.match(r"(?:/api/models)?/([^/]+/[^/]+)/(?:resolve|revision)/", path)
        if found and not any(f"/{found[1]}/" in known for known in self.replies):
            return Reply(b"Invalid username or password.", 401, {"X-Error-Code": "RepoNotFound"}, etag=None)
        return Reply(b"Entry not found", 404, {"X-Error-Code": "EntryNotFound"}, etag=None)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            server.connections.append(self.connection)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            with server.lock:
                server.requests.append(Request(self.command, parts.path, parts.query, dict(self.headers)))
            if server.gate is not None:
                server.gate.wait(20)
            self._send(parts.path, server.answer(parts.path))

        do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, path: str, reply: Reply) -> None:
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            body, status = reply.body, reply.status
            headers = dict(reply.headers)
            etag = reply.etag
            if etag == AUTO:
                etag = f'"{hashlib.sha256(body).hexdigest()}"' if isinstance(body, bytes) else None
            if etag is not None:
                headers.setdefault("ETag", etag)
            if reply.location is not None:
                headers["Location"] = reply.location
            start = self._start(reply, headers.get("ETag"))
            if start is not None and isinstance(body, bytes) and status == 200:
                whole, body = len(body), body[start:]
                if start >= whole:
                    status, headers, body = 416, {"Content-Range": f"bytes */{whole}"}, b""
                else:
                    status = 206
                    headers.setdefault("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if status == 200 and headers.get("ETag", "") == self.headers.get("If-None-Match"):
                status, body = 304, b""
            self._head(status, reply, headers, body)
            if self.command != "HEAD":
                self._body(path, reply, body)

        def _start(self, reply: Reply, etag: Any) -> int | None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if wanted is None or not reply.ranges or self.headers.get("If-Range", etag) != etag:
                return None
            return int(wanted[1])

        def _head(self, status: int, reply: Reply, headers: Mapping[str, Any], body: Any) -> None:
            self.send_response(status)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif reply.length == AUTO and isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
            elif reply.length not in (None, AUTO):
                self.send_header("Content-Length", str(reply.length))
            if reply.length is None or reply.cut is not None or not isinstance(body, bytes):
                self.send_header("Connection", "close")
                self.close_connection = True
            for name, values in headers.items():
                for value in [values] if isinstance(values, str) else values:
                    self.send_header(name, value)
            self.end_headers()

        def _body(self, path: str, reply: Reply, body: Any) -> None:
            done = 0
            for piece in self._pieces(reply, body):
                if reply.stall is not None and done >= reply.stall[0]:
                    server.stop.wait(reply.stall[1])
                if server.stop.is_set():
                    return
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
                done += len(piece)
                with server.lock:
                    server.sent[path] += len(piece)
            if reply.chunked and reply.cut is None:
                self.wfile.write(b"0\r\n\r\n")
            if reply.reset:
                self.wfile.flush()
                time.sleep(0.05)  # let the client read what was sent
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def _pieces(self, reply: Reply, body: Any) -> Iterable[bytes]:
            if not isinstance(body, bytes):
                yield from body
                return
            body = body if reply.cut is None else body[: reply.cut]
            size = 65536 if reply.stall is None else max(1, reply.stall[0])
            for start in range(0, len(body), size):
                yield body[start : start + size]

    return Handler
