"""From a URL to a blob of the cache, over a network that fails in every way it can.

What was received stays when the next attempt, or the next process, can continue from it.
"""

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from registry.cache.cache import Cache
from registry.download import body, hub, together
from registry.download.advice import wanted
from registry.download.body import ExpectedFile
from registry.download.http import NOT_MODIFIED, RANGE_NOT_SATISFIABLE, HTTPResponse, get
from registry.download.known import KnownContent, received
from registry.download.partial import PartialDownload
from registry.download.retries import Retries
from registry.errors import CacheFullError, FetchError, HTTPStatusError, IntegrityError, UnexpectedContentError
from registry.files.etags import matches_etag
from registry.files.signatures import recognize_stand_in
from registry.files.urls import name_in, redacted
from registry.formatting import format_size


def download(
    url: str,
    cache: Cache,
    expected: ExpectedFile,
    *,
    held: Path | None = None,
    progress: bool | None = None,
    patient: bool = True,
) -> Path:
    """Fetch the bytes of a URL into the cache; after an error nothing is in the cache but what was there before.

    No body is read when the server names the content by a digest, and the cache has that content.

    Args:
        url: The URL in its one spelling.
        cache: The cache.
        expected: What is known of the file.
        held: The file that the cache has for the URL already.
        progress: Whether a bar is shown; None shows one on a terminal.
        patient: Whether a server in trouble is waited for; see ``Retries``.

    Returns:
        The path of the blob, or ``held``.

    Raises:
        FetchError: What ``get`` raises, IncompleteDownloadError, DownloadTimeoutError, and IntegrityError when size or
            digest are not the expected ones.
        CacheError: The disk refused.
    """
    size = expected.size
    try:
        with together.connection(), cache.writing():
            part = PartialDownload.begin(cache, url)
            keep = False
            try:
                known = KnownContent(url, cache, expected, held)
                response = _receive(part, expected, known, progress, Retries(hub.through_endpoint(url), patient))
                path = known.find(response)
                return cache.keep(url, part.file, received(response, url, part.digest())) if path is None else path
            except BaseException as problem:
                keep = _is_worth_keeping(problem)
                raise
            finally:
                size = part.total or size
                part.close(keep=keep)
    except CacheFullError as problem:
        what = f"{name_in(url)}{'' if size is None else f' ({format_size(size)})'}"
        problem.hint, problem.details = wanted(what, problem.hint), redacted(url)
        raise


def _is_worth_keeping(problem: BaseException) -> bool:
    """Whether the bytes so far are kept after an error: not when they are wrong, or the disk needs their room."""
    of_disk = isinstance(problem, OSError) and not isinstance(problem, FetchError)
    return not of_disk and not isinstance(problem, IntegrityError)


def _receive(
    part: PartialDownload, expected: ExpectedFile, known: KnownContent, progress: bool | None, retries: Retries
) -> HTTPResponse:
    """Fill ``part`` with all bytes, checked, in as many attempts as make sense; with none where they are known."""
    restarted = False
    while True:
        before = part.size
        try:
            retries.await_turn()
            return _attempt(part, expected, known, progress)
        except FetchError as problem:
            wrong = isinstance(problem, IntegrityError) or _is_beyond_the_end(problem)
            if wrong and before and not restarted:  # what an earlier attempt or download left may be at fault
                restarted = True
                part.restart()
            elif isinstance(problem, IntegrityError):
                raise
            else:
                retries.wait(problem, part.size - before)


def _attempt(part: PartialDownload, expected: ExpectedFile, known: KnownContent, progress: bool | None) -> HTTPResponse:
    """Send one request for what is missing, and check the file; no body is read where its content is known."""
    with closing(get(part.url, _range(part), stop_early=known.has)) as response:
        if known.has(response):
            return response
        if response.status != NOT_MODIFIED:  # else all of it is here already
            body.begin(part, response, expected)
            body.read(part, response, expected, progress)
    _check(part, response, expected)
    return response


def _is_beyond_the_end(problem: FetchError) -> bool:
    return isinstance(problem, HTTPStatusError) and problem.status == RANGE_NOT_SATISFIABLE


def _range(part: PartialDownload) -> dict[str, str]:
    """The headers that ask for the rest, if it is still of the same content (RFC 9110, sections 13.1 and 14.2)."""
    if not part.size or part.validator is None:
        return {}
    if part.size == part.total:
        return {"If-None-Match": part.validator}
    return {"Range": f"bytes={part.size}-", "If-Range": part.validator}


def _check(part: PartialDownload, response: HTTPResponse, expected: ExpectedFile) -> None:
    """Compare the file with what is expected: by the caller, and by the hub in its first response."""
    url, found = part.shown, part.digest()
    if expected.size not in (None, found.size):
        raise IntegrityError(f"{url} has {found.size:,} bytes, not the expected {expected.size:,}.")
    if expected.sha256 == found.sha256:
        return
    stand_in = recognize_stand_in(part.start())
    if stand_in is not None and not urlsplit(part.url).path.endswith((".html", ".htm")):
        raise UnexpectedContentError(
            f"{url} looks like {stand_in}.", hint="Does this network require signing in first (a captive portal)?"
        )
    of_hub = None if expected.is_listing else response.digest
    if expected.sha256 is not None or (
        of_hub is not None and matches_etag(of_hub, part.path, sha256=found.sha256) is False
    ):
        raise IntegrityError(
            f"{url} does not match its digest: its sha256 is {found.sha256}, "
            f"where {expected.sha256 or of_hub} is expected.",
            hint="The download was discarded. If the file was changed on purpose, its card needs the new digest.",
        )
