"""From an address to a blob of the cache, over a network that fails in every way it can.

A body is taken for whole only when its length or its digest says so: that a connection ended without an error says
nothing.  What was received stays when the next attempt, or the next process, can go on from it.
"""

import logging
import random
import re
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3.exceptions
from attrs import define, frozen

from registry.cache.cache import Cache
from registry.download.etags import names
from registry.download.http import NOT_MODIFIED, RANGE_NOT_SATISFIABLE, Answer, ask
from registry.download.partial import CHUNK, Part
from registry.download.progress import Bar
from registry.errors import (
    DownloadTimeoutError,
    FetchError,
    HTTPStatusError,
    IncompleteDownloadError,
    IntegrityError,
    NotCachedError,
    UnexpectedContentError,
)
from registry.files.urls import redacted

log = logging.getLogger("registry")

LARGEST = 20 * 2**30
"""Bytes after which a body of unknown length is taken for endless."""
SLOWEST = 1000.0
"""Bytes a second below which a download is given up ..."""
WINDOW = 60.0
"""... when it stays there for so many seconds."""
LONGEST_WAIT = 60.0
"""Seconds that a server may make us wait (Retry-After) before the request counts as refused."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts, where the server does not say."""
PROGRESS = 64 * 1024
"""Bytes that an attempt must bring to count as progress."""

TRIES: Mapping[type[FetchError], int] = {
    HTTPStatusError: 5,
    IncompleteDownloadError: 5,
    DownloadTimeoutError: 2,
    NotCachedError: 3,
}
"""Attempts without progress, by what went wrong; all else is not tried again."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that may be other ones soon."""

sleep = time.sleep
now = time.monotonic


@frozen(kw_only=True)
class Promise:
    """What is known of a file before it is fetched."""

    sha256: str | None = None
    size: int | None = None


def download(
    url: str, cache: Cache, promise: Promise, *, held: Path | None = None, progress: bool | None = None
) -> Path:
    """Fetch the bytes of a normalised address into the cache; returns the blob.

    ``held`` is the file that the cache has for it already: it is returned, and no body read, when the server names the
    content by a digest that is this file's.

    Raises what ``ask`` does, IncompleteDownloadError, DownloadTimeoutError, IntegrityError when size or digest differ
    from what was promised, and CacheError when the disk is at fault.  Nothing is then visible in the cache but what was
    there before.
    """
    with cache.writing():
        part = Part.begin(cache, url)
        keep = False
        try:
            answer = _receive(url, part, promise, held, progress)
            if answer is None:
                assert held is not None
                return held
            return cache.keep(
                url,
                part.file,
                digest=part.digest(),
                size=part.size,
                etag=answer.etag,
                revision=answer.revision,
                source=answer.url,
            )
        except BaseException as problem:
            keep = _may_go_on(problem)
            raise
        finally:
            part.close(keep=keep)


def _may_go_on(problem: BaseException) -> bool:
    """Whether the bytes so far are worth keeping: not when they are wrong, and not when the disk needs their room."""
    of_disk = isinstance(problem, OSError) and not isinstance(problem, FetchError)
    return not of_disk and not isinstance(problem, IntegrityError)


# --- Attempts ---------------------------------------------------------------------------------------------------------


def _receive(url: str, part: Part, promise: Promise, held: Path | None, progress: bool | None) -> Answer | None:
    """Fill ``part`` with the checked whole, in as many attempts as make sense; None when ``held`` is the same."""
    patience = _Patience()

    def is_held(answer: Answer) -> bool:
        return held is not None and answer.etag is not None and bool(names(answer.etag, held))

    while True:
        before = part.size
        try:
            with closing(ask(url, _range(part), enough=is_held)) as answer:
                if is_held(answer):
                    return None
                if answer.response.status_code != NOT_MODIFIED:  # else all of it is here already
                    _begin(url, part, answer, promise)
                    _read(url, part, answer, promise, progress)
            _check(url, part, answer, promise)
        except IntegrityError:
            if not before or patience.restarted:
                raise
            patience.restarted = True  # what an earlier download left may be at fault
            part.restart()
        except FetchError as problem:
            if _is_beyond_the_end(problem) and part.size and not patience.restarted:
                patience.restarted = True
                part.restart()
            else:
                patience.spend(problem, part.size - before)
        else:
            return answer


def _is_beyond_the_end(problem: FetchError) -> bool:
    return isinstance(problem, HTTPStatusError) and problem.status == RANGE_NOT_SATISFIABLE


def _range(part: Part) -> dict[str, str]:
    """The headers that ask for the rest, if it is still of the same content (RFC 9110 §§13.1, 14.2)."""
    if not part.size or part.validator is None:
        return {}
    if part.size == part.total:
        return {"If-None-Match": part.validator}
    return {"Range": f"bytes={part.size}-", "If-Range": part.validator}


@define
class _Patience:
    """How often a request was in vain, and when that is enough."""

    failures: int = 0
    restarted: bool = False

    def spend(self, problem: FetchError, received: int) -> None:
        """Wait before the next attempt, or raise the problem when another one makes no sense."""
        self.failures = 1 if received >= PROGRESS else self.failures + 1
        wait = min(LONGEST_PAUSE, 0.5 * 2**self.failures) * random.uniform(0.5, 1)  # noqa: S311  # spreads a herd
        most = next((tries for kind, tries in TRIES.items() if isinstance(problem, kind)), 1)
        if isinstance(problem, HTTPStatusError):
            most = most if problem.status in PASSING else 1
            wait = wait if problem.retry_after is None else problem.retry_after
        if self.failures >= most or wait > LONGEST_WAIT:
            raise problem
        log.info("%s; trying again in %.1f s", problem.message, wait)
        sleep(wait)


# --- One body ---------------------------------------------------------------------------------------------------------


def _begin(url: str, part: Part, answer: Answer, promise: Promise) -> None:
    """Compare the headers with what is here and what was promised; afterwards, the body follows what is here."""
    encoding = answer.header.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise FetchError(f"{redacted(url)} comes encoded ({encoding}), though it was asked for as it is.")
    start, total = _extent(url, answer)
    if part.size and start == part.size:
        if part.total not in (None, total) or answer.validator not in (None, part.validator):
            raise IntegrityError(f"{redacted(url)} changed while it was fetched: the rest is of another content.")
    elif start == 0:
        part.restart()
    elif answer.response.status_code == 206:
        raise IntegrityError(f"{redacted(url)} answers with the bytes from {start:,} on, where {part.size:,} are here.")
    else:
        part.restart()
        raise IncompleteDownloadError(f"{redacted(url)} sends only a part of the file.", got=0, expected=total)
    for promised in (promise.size, _number(answer.first.get("X-Linked-Size"))):
        if None not in (promised, total) and promised != total:
            raise IntegrityError(f"{redacted(url)} has {total:,} bytes, where {promised:,} are promised.")
    part.promise(answer.validator, total)
    part.reserve(total)


def _extent(url: str, answer: Answer) -> tuple[int, int | None]:
    """Where in the file the body begins, and how long the whole file is, if the server says so."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.header.get("Content-Range", "").strip())
    if found is not None:
        return int(found[1]), _number(found[3])
    if answer.response.status_code == 206:
        raise IntegrityError(f"{redacted(url)} answers with a part of the file, and does not say with which.")
    return 0, _number(answer.header.get("Content-Length"))


def _number(text: str | None) -> int | None:
    """A count of bytes; None for what is none.  Repeated alike, a header still says one thing (RFC 9110 §8.6)."""
    values = {value.strip() for value in (text or "").split(",")}
    value = values.pop() if len(values) == 1 else ""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _read(url: str, part: Part, answer: Answer, promise: Promise, progress: bool | None) -> None:
    """Append the body to ``part``; see that it is whole."""
    raw: Any = answer.response.raw
    limit = next((size for size in (part.total, promise.size) if size is not None), LARGEST)
    mark, since = part.size, now()
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    with closing(Bar(name, total=part.total, done=part.size, wanted=progress)) as bar:
        while chunk := _chunk(url, raw, part):
            if part.size + len(chunk) > limit:
                raise IntegrityError(f"{redacted(url)} sends more than the {limit:,} bytes that it may have.")
            part.write(chunk)
            bar.at(part.size)
            if (elapsed := now() - since) >= WINDOW:
                if part.size - mark < SLOWEST * elapsed:
                    raise DownloadTimeoutError(f"{redacted(url)} sent {part.size - mark:,} bytes in {elapsed:.0f} s.")
                mark, since = part.size, now()
    if part.total is not None and part.size < part.total:
        raise _cut(url, part)
    if part.total is None and not raw.chunked and promise == Promise():
        raise IntegrityError(
            f"{redacted(url)} ended after {part.size:,} bytes, and nothing says that this is all of it.",
            hint="The server gives no length, and no digest is known: give one on the model's card.",
        )


def _chunk(url: str, raw: Any, part: Part) -> bytes:
    try:
        return raw.read1(CHUNK, decode_content=False) or b""
    except urllib3.exceptions.ReadTimeoutError as problem:
        raise DownloadTimeoutError(f"{redacted(url)} fell silent after {part.size:,} bytes.") from problem
    except urllib3.exceptions.HTTPError as problem:
        if part.size == part.total:
            return b""
        raise _cut(url, part) from problem


def _cut(url: str, part: Part) -> IncompleteDownloadError:
    of = f" of {part.total:,}" if part.total is not None else ""
    return IncompleteDownloadError(
        f"{redacted(url)} was cut short after {part.size:,}{of} bytes.",
        got=part.size,
        expected=part.total,
        hint="What is here is kept where the server can go on from it: try again.",
    )


# --- The whole --------------------------------------------------------------------------------------------------------


def _check(url: str, part: Part, answer: Answer, promise: Promise) -> None:
    """Compare the whole with what was promised: on the card, and by the hub on its first answer."""
    digest = part.digest()
    if promise.size not in (None, part.size):
        raise IntegrityError(f"{redacted(url)} has {part.size:,} bytes, where {promise.size:,} are promised.")
    if promise.sha256 == digest:
        return
    impostor = next(
        (words for begin, words in IMPOSTORS.items() if part.start().lstrip().lower().startswith(begin)), None
    )
    if impostor is not None and not urlsplit(url).path.endswith((".html", ".htm")):
        raise UnexpectedContentError(
            f"{redacted(url)} looks like {impostor}.", hint="Is there a network that wants you to sign in first?"
        )
    of_hub = answer.etag if answer.revision is not None and answer.etag is not None else ""
    other = (len(of_hub) == 64 and of_hub != digest) or (len(of_hub) == 40 and names(of_hub, part.path) is False)
    if promise.sha256 is not None or other:
        raise IntegrityError(
            f"{redacted(url)} is not what was promised: its sha256 is {digest}, "
            f"where {promise.sha256 or of_hub} is expected.",
            hint="Nothing was kept. If the file was changed on purpose, its card must name the new digest.",
        )


IMPOSTORS = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"version https://git-lfs": "the pointer of git-lfs to a file, and not the file",
}
"""What a file is that begins with these bytes, in lower case, where a model's file should be."""
