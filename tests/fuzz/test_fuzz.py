"""What ``python -m tests.fuzz`` tries for long, tried shortly; and every input that once broke something."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.fuzz import engine, oracle
from tests.fuzz.__main__ import FOUND
from tests.fuzz.codecs import CODECS
from tests.fuzz.inputs import decode, encode
from tests.fuzz.mutations import mutate
from tests.fuzz.parsers import PARSERS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")

SECONDS = 0.25
"""CPU time of new inputs for each parser."""


@pytest.fixture(scope="module")
def audit() -> Iterator[oracle.Audit]:
    directory = engine.temporary()
    yield oracle.Audit(directory)
    engine.remove(directory)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", PARSERS)
def test_only_errors_of_the_registry_leave_a_parser_within_limits(name: str, audit: oracle.Audit) -> None:
    parser = PARSERS[name]
    work = Path(audit.directory) / "work"
    seeds = parser.seeds()
    for files in seeds:  # imports what is needed
        oracle.check(parser.parse, files, work, audit)
    assert any(oracle.check(parser.parse, files, work, audit).accepted for files in seeds)
    for path in sorted((FOUND / name).glob("*")):
        files = decode(path.read_bytes())
        assert files is not None
        assert oracle.check(parser.parse, files, work, audit).fault is None, path
    random, spent = Random(name), 0.0
    while spent < SECONDS:
        files = mutate(random.choice(seeds), random, seeds)
        outcome = oracle.check(parser.parse, files, work, audit)
        spent += outcome.seconds + 0.001
        assert outcome.fault is None, f"{outcome.fault}: {engine.keep(files, FOUND / name)}"


# --- The harness itself -----------------------------------------------------------------------------------------------


def spends(_files: object, _directory: Path) -> None:
    end = resource.getrusage(resource.RUSAGE_SELF).ru_utime + 0.3
    while resource.getrusage(resource.RUSAGE_SELF).ru_utime < end:
        pass


FAULTS = {
    "an error of another kind": lambda _files, _directory: {}["key"],
    "much memory": lambda _files, _directory: bytearray(201 * 2**20),
    "memory that is never touched": lambda _files, _directory: __import__("mmap").mmap(-1, 400 * 2**20),
    "much time": spends,
    "a file elsewhere": lambda _files, _directory: Path("/nonexistent/file").write_bytes(b""),
    "a directory elsewhere": lambda _files, directory: (directory / "../../nonexistent/elsewhere").mkdir(),
    "a removal elsewhere": lambda _files, directory: Path("/nonexistent/file").unlink(missing_ok=True),
    "a program": lambda _files, _directory: __import__("subprocess").run(["true"], check=True),
    "code": lambda _files, _directory: exec(compile("1", "<file of a model>", "exec")),
    "pickle": lambda _files, _directory: __import__("pickle").loads(b"cos\ngetcwd\n)R."),
    "another host": lambda _files, _directory: __import__("socket").create_connection(("127.0.0.2", 9), 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_oracle_notices(fault: str, audit: oracle.Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "SECONDS", 0.2)
    monkeypatch.setattr(oracle, "ATTEMPTS", 1)
    (Path(audit.directory) / "work").mkdir(exist_ok=True)
    assert oracle.check(FAULTS[fault], {}, Path(audit.directory) / "work", audit).fault is not None  # type: ignore[arg-type]


def rewritten(data: bytes) -> bytes:
    codec = next((codec for codec in CODECS if codec.matches(data)), None)
    return data if codec is None else codec.write(codec.read(data))


@pytest.mark.parametrize("name", PARSERS)
def test_a_seed_that_was_taken_apart_and_put_together_is_parsed_as_before(name: str, audit: oracle.Audit) -> None:
    parser, work = PARSERS[name], Path(audit.directory) / "work"
    for files in parser.seeds():
        assert decode(encode(files)) == files
        again = {name: rewritten(data) for name, data in files.items()}
        before, after = (oracle.check(parser.parse, each, work, audit) for each in (files, again))
        assert (after.accepted, after.fault) == (before.accepted, None)
