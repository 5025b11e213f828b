"""The body of one response: it must continue what is here already, and be complete when it ends.

A body counts as complete only when its length or its digest says so: that a connection ended without an error says
nothing.
"""

import re
import time
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3.exceptions
from attrs import frozen

from registry.download.http import HTTPResponse
from registry.download.partial import CHUNK, PartialDownload
from registry.download.progress import ProgressBar
from registry.errors import DownloadTimeoutError, FetchError, IncompleteDownloadError, IntegrityError
from registry.files.urls import redacted

LARGEST = 20 * 2**30
"""Bytes after which a body of unknown length is taken for endless."""
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


def begin(part: PartialDownload, response: HTTPResponse, expected: ExpectedFile) -> None:
    """Compare the headers with what is here and what is expected; afterwards, the body continues what is here.

    Raises:
        IntegrityError: The body is of another content, or does not continue what is here.
        IncompleteDownloadError: The server sends only a part, and another attempt may get all.
        FetchError: The body is encoded.
    """
    url = redacted(part.url)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise FetchError(f"{url} comes encoded ({encoding}), though it was asked for as it is.")
    start, total = _extent(url, response)
    if part.size and start == part.size:
        if part.total not in (None, total) or response.validator not in (None, part.validator):
            raise IntegrityError(f"{url} changed while it was fetched: the rest is of another content.")
    elif start == 0:
        part.restart()
    elif response.status == 206:
        raise IntegrityError(f"{url} answers with the bytes from {start:,} on, where {part.size:,} are here.")
    else:
        part.restart()
        raise IncompleteDownloadError(f"{url} sends only a part of the file.", got=0, expected=total)
    for size in (expected.size, _number(response.first_headers.get("X-Linked-Size"))):
        if None not in (size, total) and size != total:
            raise IntegrityError(f"{url} has {total:,} bytes, where {size:,} are promised.")
    part.describe(response.validator, total)
    part.reserve(total)


def read(part: PartialDownload, response: HTTPResponse, expected: ExpectedFile, progress: bool | None) -> None:
    """Append the body to ``part``.

    Raises:
        IncompleteDownloadError: The connection ended before the body did.
        DownloadTimeoutError: The server stalled, or is too slow.
        IntegrityError: The body is longer than expected, or nothing says that it is complete.
    """
    limit = next((size for size in (part.total, expected.size) if size is not None), LARGEST)
    mark, since = part.size, now()
    name = unquote(urlsplit(part.url).path).rpartition("/")[2]
    bar = ProgressBar(name, total=part.total, unit="bytes", done=part.size, shown=progress, leave=True)
    with closing(bar):
        while chunk := _chunk(part, response.body):
            if part.size + len(chunk) > limit:
                raise IntegrityError(f"{redacted(part.url)} sends more than the {limit:,} bytes that it may have.")
            part.write(chunk)
            bar.advance_to(part.size)
            if (elapsed := now() - since) >= WINDOW:
                if part.size - mark < SLOWEST * elapsed:
                    raise DownloadTimeoutError(
                        f"{redacted(part.url)} sent {part.size - mark:,} bytes in {elapsed:.0f} s."
                    )
                mark, since = part.size, now()
    if part.total is not None and part.size < part.total:
        raise _cut(part)
    if part.total is None and not response.body.chunked and expected == ExpectedFile():
        raise IntegrityError(
            f"{redacted(part.url)} ended after {part.size:,} bytes, and nothing says that this is all of it.",
            hint="The server gives no length, and no digest is known: give one on the model's card.",
        )


def _extent(url: str, response: HTTPResponse) -> tuple[int, int | None]:
    """The offset in the file at which the body begins, and the size of the whole file, if the server says so."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if found is not None:
        return int(found[1]), _number(found[3])
    if response.status == 206:
        raise IntegrityError(f"{url} answers with a part of the file, and does not say with which.")
    return 0, _number(response.headers.get("Content-Length"))


def _number(text: str | None) -> int | None:
    """A count of bytes; None for anything else.  Repeated alike, a header still says one thing (RFC 9110 §8.6)."""
    values = {value.strip() for value in (text or "").split(",")}
    value = values.pop() if len(values) == 1 else ""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _chunk(part: PartialDownload, body: Any) -> bytes:
    try:
        return body.read1(CHUNK, decode_content=False) or b""
    except urllib3.exceptions.ReadTimeoutError as problem:
        raise DownloadTimeoutError(f"{redacted(part.url)} stalled after {part.size:,} bytes.") from problem
    except urllib3.exceptions.HTTPError as problem:
        if part.size == part.total:
            return b""
        raise _cut(part) from problem


def _cut(part: PartialDownload) -> IncompleteDownloadError:
    of = f" of {part.total:,}" if part.total is not None else ""
    return IncompleteDownloadError(
        f"{redacted(part.url)} was cut short after {part.size:,}{of} bytes.",
        got=part.size,
        expected=part.total,
        hint="What is here is kept where the server can continue from it: try again.",
    )
