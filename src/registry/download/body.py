"""The body of one response: it must continue what is here already, and be complete when it ends.

A body counts as complete only when its length or its digest says so: that a connection ended without an error says
nothing.
"""

import re
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3.exceptions
from attrs import frozen

from registry.download import together
from registry.download.http import HTTPResponse
from registry.download.partial import CHUNK, PartialDownload
from registry.download.progress import ProgressBar
from registry.errors import DownloadTimeoutError, FetchError, IncompleteDownloadError, IntegrityError

LARGEST = 20 * 2**30
"""Bytes after which a body of unknown length is taken for endless."""
LARGEST_DECODED = 64 * 2**20
"""Bytes of a listing that came compressed."""
ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""The encodings in which a listing may come; each with the ``wbits`` of zlib."""
SLOWEST = 1000.0
"""Bytes a second below which a download is given up ..."""
WINDOW = 60.0
"""... when it stays there for so many seconds."""

now = time.monotonic


@frozen(kw_only=True)
class ExpectedFile:
    """What is known of a file before it is fetched."""

    sha256: str | None = None
    """64 hex digits."""
    size: int | None = None
    """Bytes."""
    is_listing: bool = False
    """Whether it is a listing: then nothing promises its bytes, and they may come compressed, though unasked."""


def begin(part: PartialDownload, response: HTTPResponse, expected: ExpectedFile) -> None:
    """Compare the headers with what is here and what is expected; afterwards, the body continues what is here.

    Raises:
        IntegrityError: The body is of another content, or does not continue what is here.
        IncompleteDownloadError: The server sends only a part, and another attempt may get all.
        FetchError: The body is encoded.
    """
    url = part.shown
    if encoding := _encoding(response):
        if not expected.is_listing or encoding not in ENCODINGS:
            raise FetchError(
                f"{url} was sent with Content-Encoding: {encoding:.40}, which was not requested.",
                hint="The server, or a proxy on the way, compresses its responses, so that size, "
                "ranges and digest are those of other bytes: turn compression off for model files.",
            )
        part.restart()
        return
    start, total = _extent(url, response)
    linked = _number(response.first_headers.get("X-Linked-Size"))
    total = linked if total is None else total
    if part.size and start == part.size:
        if part.total not in (None, total) or response.validator not in (None, part.validator):
            raise IntegrityError(f"{url} changed during the download: the rest belongs to another version.")
    elif start == 0:
        part.restart()
    elif response.status == 206:
        raise IntegrityError(
            f"{url} returned the bytes from {start:,} on, but those from {part.size:,} on were requested."
        )
    else:
        part.restart()
        raise IncompleteDownloadError(f"{url} returned only a part of the file.", got=0, expected=total)
    for size in (expected.size, linked):
        if None not in (size, total) and size != total:
            raise IntegrityError(f"{url} has {total:,} bytes, not the expected {size:,}.")
    part.describe(response.validator, total)
    part.reserve(total)


def read(part: PartialDownload, response: HTTPResponse, expected: ExpectedFile, progress: bool | None) -> None:
    """Append the body to ``part``.

    Raises:
        IncompleteDownloadError: The connection ended before the body did.
        DownloadTimeoutError: The server stalled, or is too slow.
        IntegrityError: The body is longer than expected, or nothing says that it is complete.
    """
    encoding = _encoding(response)
    limit = next((size for size in (part.total, expected.size) if size is not None), LARGEST)
    limit = LARGEST_DECODED if encoding else limit
    mark, since = part.size, now()
    with closing(_bar(part, progress)) as bar, together.reading(response.body):
        for chunk in _decoded(part, response.body, encoding) if encoding else _chunks(part, response.body):
            together.check_wanted()
            if part.size + len(chunk) > limit:
                raise IntegrityError(f"{part.shown} sent more than the allowed {limit:,} bytes.")
            part.write(chunk)
            bar.advance_to(part.size)
            if (elapsed := now() - since) >= WINDOW:
                if part.size - mark < SLOWEST * elapsed:
                    raise DownloadTimeoutError(
                        f"{part.shown} is too slow: {part.size - mark:,} bytes in {elapsed:.0f} s."
                    )
                mark, since = part.size, now()
    together.check_wanted()
    if part.total is not None and part.size < part.total:
        raise _cut(part)
    promised = expected.sha256 or expected.size is not None or response.digest
    if part.total is None and not (encoding or response.body.chunked or promised):
        raise IntegrityError(
            f"{part.shown} ended after {part.size:,} bytes, and whether that is the complete file is unknown.",
            hint="The server gives no length, and no digest is known: give one on the model's card.",
        )


def _bar(part: PartialDownload, progress: bool | None) -> ProgressBar:
    name = unquote(urlsplit(part.url).path).rpartition("/")[2]
    place = together.place_of_bar()
    return ProgressBar(name, total=part.total, unit="bytes", done=part.size, shown=progress, leave=True, place=place)


def _encoding(response: HTTPResponse) -> str:
    """The encoding of a body; empty for bytes as they are."""
    found = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if found == "identity" else found


def _extent(url: str, response: HTTPResponse) -> tuple[int, int | None]:
    """The offset in the file at which the body begins, and the size of the whole file, if the server says so."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if found is not None:
        return int(found[1]), _number(found[3])
    if response.status == 206:
        raise IntegrityError(f"{url} returned a part of the file without a valid Content-Range.")
    return 0, _number(response.headers.get("Content-Length"))


def _number(text: str | None) -> int | None:
    """A count of bytes; None for anything else.  Repeated alike, a header still says one thing (RFC 9110 §8.6)."""
    values = {value.strip() for value in (text or "").split(",")}
    value = values.pop() if len(values) == 1 else ""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _chunks(part: PartialDownload, body: Any) -> Iterator[bytes]:
    while chunk := _chunk(part, body):
        yield chunk


def _decoded(part: PartialDownload, body: Any, encoding: str) -> Iterator[bytes]:
    """The bytes of a compressed body, of which no more than ``CHUNK`` are made at a time."""
    decoder = zlib.decompressobj(ENCODINGS[encoding])
    try:
        for chunk in _chunks(part, body):
            while chunk and not decoder.eof:
                if found := decoder.decompress(chunk, CHUNK):
                    yield found
                chunk = decoder.unconsumed_tail
    except zlib.error as problem:
        raise FetchError(f"{part.shown} comes encoded ({encoding}), and cannot be decoded: {problem}.") from problem
    if not decoder.eof:
        raise _cut(part)


def _chunk(part: PartialDownload, body: Any) -> bytes:
    try:
        return body.read1(CHUNK, decode_content=False) or b""
    except urllib3.exceptions.ReadTimeoutError as problem:
        raise DownloadTimeoutError(f"{part.shown} stalled after {part.size:,} bytes.") from problem
    except urllib3.exceptions.HTTPError as problem:
        if part.size == part.total:
            return b""
        raise _cut(part) from problem
    except (
        OverflowError,
        ValueError,
    ) as problem:  # of urllib3, for the length of a chunk that is not a number of bytes
        raise _cut(part) from problem


def _cut(part: PartialDownload) -> IncompleteDownloadError:
    of = f" of {part.total:,}" if part.total is not None else ""
    return IncompleteDownloadError(
        f"{part.shown} was cut short after {part.size:,}{of} bytes.",
        got=part.size,
        expected=part.total,
        hint="What is here is kept where the server can continue from it: try again.",
    )
