"""What must hold of every input: only a RegistryError leaves the parser, within limits, and nothing else happens.

- At most ``SECONDS`` of CPU time, in all threads together: on a loaded machine, time on a clock would say nothing.
  What takes longer is tried again, and its shortest time counts.
- At most ``MEGABYTES`` more of resident memory at any moment.  Address space is limited to some more, so that what is
  asked for and never touched ends in a MemoryError.
- No program is run, nothing is unpickled or imported from elsewhere, no socket is opened but to the test's own server,
  and nothing is written outside of the directory of the input, as the interpreter's audit events tell.
"""

import gc
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.inputs import Files

from registry.errors import RegistryError

SECONDS = 2.0
MEGABYTES = 200.0
ROOM = 64 * 2**20
"""Bytes of address space beyond the limit of memory: stacks of threads, and maps of the files themselves."""
ATTEMPTS = 3

RUN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pickle.find_class")
"""Audit events of what no file may bring about."""
WRITES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.utime",
    "os.truncate",
)
IMPORTED_FROM = (
    *filter(None, sys.path),
    sys.prefix,
    sys.base_prefix,
    str(Path(__file__).parents[2]),
    "<frozen",
    "<attrs generated",
    "<string>",
    "<template>",
    "<unknown>",
)
"""Where code may come from that is run: modules that are imported when they are first needed, and templates in Jinja's
sandbox."""

Parse = Callable[[Files, Path], object]
"""Reads an input, for which it has a directory of its own."""


class Outcome(NamedTuple):
    """What became of an input."""

    fault: str | None
    """What was wrong; None where all is as it must be."""
    seconds: float
    megabytes: float
    accepted: bool = False


class Audit:
    """Audit events in a process, as long as it is asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = os.path.realpath(directory)
        self.faults: list[str] = []
        self.active = False
        sys.addaudithook(self._hear)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note in ``faults`` what is not allowed and happens inside of the ``with`` block."""
        self.faults, self.active = [], True
        try:
            yield
        finally:
            self.active = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in RUN or (event == "exec" and not self._is_ours(arguments[0])):
            self.faults.append(f"{event} {arguments!r:.200}")
        elif event == "socket.connect" and next(iter(arguments[1])) not in ("127.0.0.1", "::1"):
            self.faults.append(f"{event} {arguments[1]!r:.200}")
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not self._is_inside(path):
                self.faults.append(f"writes {path!r:.200}")
        elif event in WRITES:
            paths = (
                arguments[:2]
                if event in ("os.rename", "os.link")
                else arguments[1:2]
                if event == "os.symlink"
                else arguments[:1]
            )
            self.faults += [f"{event} {path!r:.200}" for path in paths if not self._is_inside(path)]

    @staticmethod
    def _is_ours(code: Any) -> bool:
        return str(getattr(code, "co_filename", "")).startswith(IMPORTED_FROM)

    def _is_inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return True
        path = os.fsdecode(path)
        if not os.path.isabs(path):  # below the open directory of a removal of a tree
            return ".." not in path.split("/")
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return real.startswith((self.directory, "/dev/null"))


def check(parse: Parse, files: Files, directory: Path, audit: Audit) -> Outcome:
    """Parse an input, and say what was wrong with that."""
    outcome = _once(parse, files, directory, audit)
    for _ in range(ATTEMPTS - 1):
        if outcome.fault is not None or outcome.seconds <= SECONDS:
            break
        again = _once(parse, files, directory, audit)
        outcome = again._replace(seconds=min(outcome.seconds, again.seconds))
    if outcome.fault is None and outcome.seconds > SECONDS:
        outcome = outcome._replace(fault=f"takes {outcome.seconds:.1f} s")
    if outcome.fault is None and outcome.megabytes > MEGABYTES:
        outcome = outcome._replace(fault=f"takes {outcome.megabytes:.0f} MB")
    return outcome


def _once(parse: Parse, files: Files, directory: Path, audit: Audit) -> Outcome:
    fault, accepted = None, False
    with limited_memory() as before, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        try:
            with audit.listening():
                parse(files, directory)
            accepted = True
        except RegistryError as error:
            fault = _of_message(error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fault = described(error)
        seconds = time.process_time() - began
        megabytes = (_status("VmHWM") - before) / 1024
    if audit.faults:
        fault = audit.faults[0]
    return Outcome(fault, seconds, megabytes, accepted)


def _of_message(error: RegistryError) -> str | None:
    """What is wrong with an error of ours: it must be shown, and pickled, wherever it was raised."""
    try:
        str(error).encode("utf-8", "backslashreplace")
    except Exception as problem:
        return f"the message of {type(error).__name__}: {described(problem)}"
    return None


def described(error: BaseException) -> str:
    """An error, and where in our code it was raised: the same text for the same fault."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/src/" in frame.filename]
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}: {error!s:.150}"


@contextmanager
def limited_memory() -> Iterator[int]:
    """Limit the address space, and begin to measure the peak of resident memory: the kilobytes before."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _status("VmSize") * 1024 + int(MEGABYTES * 2**20) + ROOM
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield before
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _status(kind: str) -> int:
    """Kilobytes of this process."""
    with open("/proc/self/status", "rb") as file:
        text = file.read()
    start = text.index(kind.encode()) + len(kind) + 1
    return int(text[start : text.index(b"kB", start)])


def settle() -> None:
    """Leave out of the measuring what was there before."""
    gc.collect()
    gc.freeze()
