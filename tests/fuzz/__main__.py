"""Try parsers with hostile inputs: ``python -m tests.fuzz [PARSER...] --minutes N [--seed S]``.

Prints what was found and a row of figures for each parser, and ends with 1 if something was found.  Inputs that broke
something are kept in ``tests/fuzz/found``, where the tests parse them.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import engine
from tests.fuzz.inputs import decode

FOUND = Path(__file__).with_name("found")
ROW = "{:<14} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7}"
HEAD = ROW.format("parser", "inputs", "accepted", "findings", "worst s", "worst MB", "minutes")


def main() -> int:
    """Run the parsers that the command line names, or all, one after another."""
    if sys.argv[1:2] == ["--child"]:
        name, directory, kept, seed = sys.argv[2:]
        engine.run(name, Path(directory), Path(kept), int(seed))
        return 0
    from tests.fuzz.parsers import PARSERS

    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    options.add_argument("parsers", nargs="*", metavar="PARSER", help=f"of {', '.join(PARSERS)}; all without")
    options.add_argument("--minutes", type=float, default=10, help="for each parser")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kept", type=Path, default=FOUND, help="where inputs are kept that break something")
    chosen = options.parse_args()
    if unknown := set(chosen.parsers) - PARSERS.keys():
        options.error(f"no parser is named {', '.join(sorted(unknown))}; there are {', '.join(PARSERS)}")
    by = "atheris" if find_spec("atheris") else "random changes"
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, inputs by {by}")
    print(HEAD, flush=True)
    findings = sum(_run(name, chosen.minutes, chosen.seed, chosen.kept) for name in chosen.parsers or PARSERS)
    return bool(findings)


def _run(name: str, minutes: float, seed: int, kept: Path) -> int:
    """The number of inputs that broke something."""
    directory, deaths = engine.temporary(), 0
    end = time.monotonic() + minutes * 60
    try:
        state = engine.State(directory / engine.NUMBERS)
        while (left := end - time.monotonic()) > 0:
            child = _child(name, directory, kept, seed + deaths)
            with suppress(subprocess.TimeoutExpired):
                child.wait(left)
            if child.poll() is None:
                child.kill()
                child.wait()
                break
            deaths += 1
            _keep_last(name, directory, kept, child.returncode)
            if not state.read()[0]:
                raise SystemExit(f"{name}: the process of inputs ended before the first of them")
        inputs, accepted, faults, seconds, megabytes = state.read()
        print(
            ROW.format(name, inputs, accepted, faults + deaths, f"{seconds:.2f}", f"{megabytes:.0f}", f"{minutes:g}"),
            flush=True,
        )
        return faults + deaths
    finally:
        engine.remove(directory)


def _child(name: str, directory: Path, kept: Path, seed: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.fuzz", "--child", name, str(directory), str(kept), str(seed)]
    own = {"HOME": str(directory), "TMPDIR": str(directory), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    hidden = ("HF_", "REGISTRY_", "TORCH_HOME", "XDG_", "HTTP", "http", "REQUESTS_", "CURL_", "SSL_")
    kept_variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    log = (directory / "log").open("ab")
    return subprocess.Popen(command, env={**kept_variables, **own}, stderr=log)


def _keep_last(name: str, directory: Path, kept: Path, status: int) -> None:
    """Keep the input with which a process ended."""
    ended = signal.Signals(-status).name if status < 0 else f"status {status}"
    print(f"{name}: the process was ended by {ended}", flush=True)
    if status >= 0:
        print((directory / "log").read_text(errors="replace")[-2000:])
    with suppress(FileNotFoundError):
        files = decode((directory / engine.CURRENT).read_bytes())
        if files is not None:
            engine.keep(files, kept / name)


if __name__ == "__main__":
    sys.exit(main())
