"""Inputs without end, in a process of its own: from atheris, which follows coverage, where it is installed.

The process writes down each input before it parses it: where a signal ends the process, that input was it.
"""

import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.fuzz.inputs import Files, decode, digest, encode
from tests.fuzz.mutations import LARGEST, mutate

STATE = struct.Struct("<QQQdd")
"""Inputs, accepted ones, findings, most CPU seconds, most megabytes."""
HANG = 10
"""CPU seconds after which a process is ended."""
CURRENT, NUMBERS = "current", "numbers"


class State:
    """The figures of a process, which another one reads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(STATE.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), STATE.size)

    def read(self) -> tuple[int, int, int, float, float]:
        """The figures."""
        return STATE.unpack(self._map[:])

    def add(self, accepted: bool, fault: bool, seconds: float, megabytes: float) -> None:
        """Count an input."""
        inputs, good, faults, most, largest = self.read()
        self._map[:] = STATE.pack(
            inputs + 1, good + accepted, faults + fault, max(most, seconds), max(largest, megabytes)
        )


def run(name: str, directory: Path, kept: Path, seed: int) -> None:
    """Make and check inputs of a parser until the process is ended.

    Args:
        name: The parser.
        directory: Where inputs are parsed, and what the process says of itself.
        kept: Where inputs are kept that break something.
        seed: Of the random numbers.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atheris = _atheris()
    from tests.fuzz import parsers
    from tests.fuzz.oracle import Audit, check, settle

    from registry.errors import RegistryError  # instrumented

    parser = parsers.PARSERS[name]
    seeds = parser.seeds()
    work = directory / "work"
    audit = Audit(directory)
    warnings.simplefilter("ignore")
    for files in seeds:  # imports what it needs
        with suppress(RegistryError):
            parser.parse(files, work)
    settle()
    state, current = State(directory / NUMBERS), directory / CURRENT
    seen: set[str] = set()

    def one(data: bytes) -> None:
        files = decode(data)
        if files is None:
            return
        current.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, HANG)  # its signal ends the process, whatever runs
        outcome = check(parser.parse, files, work, audit)
        signal.setitimer(signal.ITIMER_PROF, 0)
        state.add(outcome.accepted, outcome.fault is not None, outcome.seconds, outcome.megabytes)
        if outcome.fault is not None:
            sort = outcome.fault.partition(":")[0]
            if sort not in seen:
                seen.add(sort)
                print(f"{name}: {outcome.fault}", flush=True)
                keep(files, kept / name)

    known = [*seeds, *(found for found in kept_inputs(kept / name))]
    if atheris is None:
        random = Random(seed)
        while True:
            one(encode(mutate(random.choice(known), random, known)))

    def mutated(data: bytes, _size: int, number: int) -> bytes:
        random = Random(number)
        files = decode(data)
        files = random.choice(known) if files is None or random.random() < 0.02 else files
        found = encode(mutate(files, random, known))
        return found if len(found) <= 4 * LARGEST else data

    corpus, new = directory / "corpus", directory / "new"
    for each in (corpus, new):
        each.mkdir(exist_ok=True)
    for files in known:
        (corpus / digest(files)).write_bytes(encode(files))
    options = [f"-seed={seed + 1}", f"-max_len={4 * LARGEST}", "-len_control=0", f"-timeout={10**6}", "-rss_limit_mb=0"]
    atheris.Setup(
        [sys.argv[0], *options, "-detect_leaks=0", "-verbosity=0", str(new), str(corpus)], one, custom_mutator=mutated
    )
    atheris.Fuzz()


def _atheris():  # type: ignore[no-untyped-def]
    """The module, if it is installed; it instruments what is imported from now on."""
    try:
        import atheris
    except ImportError:
        return None
    atheris.instrument_imports(include=["registry", "plugins"]).__enter__()
    return atheris


def keep(files: Files, directory: Path) -> Path:
    """Keep an input that broke something; tests parse it from then on."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / digest(files)
    path.write_bytes(encode(files))
    return path


def kept_inputs(directory: Path) -> list[Files]:
    """The inputs that are kept of a parser."""
    found = [decode(path.read_bytes()) for path in sorted(directory.glob("*"))] if directory.is_dir() else []
    return [files for files in found if files is not None]


def temporary() -> Path:
    """A new directory, in memory where that is possible."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="registry-fuzz-", dir=parent))


def remove(directory: Path) -> None:
    """Remove a directory."""
    shutil.rmtree(directory, ignore_errors=True)
