"""A Python that has imported torch before, and forks for each program: what tests start where only the program matters.

A new Python takes one to five seconds of a processor until torch, its compiler and transformers are there; a fork has
them at once.  It has no module of this project, nor what the tests have imported, and runs its program as
``python FILE``, ``python -m MODULE`` and ``python -c CODE`` do.  What is imported, and at which cost, only a new Python
can show: tests of that start one.

The server is this file as a program.  It reads a request a line, and answers with the id of the process, and later with
its exit code.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

MODULES = ("torch._dynamo", "torch.distributed.tensor", "torch.testing")
"""What is imported beforehand, since most programs would import it."""


class Process:
    """A program that runs.

    Attributes:
        pid: Its id, for signals.
        output: The file of what it prints; errors go there, too.
    """

    def __init__(self, server: "WarmPython", pid: int, output: Path) -> None:
        self._server, self.pid, self.output = server, pid, output

    def wait(self) -> int:
        """The exit code, or the number of the signal that ended it with a minus; waits until it ended."""
        return self._server._wait(self.pid)


class WarmPython:
    """Starts programs in forks of one interpreter.

    Args:
        directory: Where it keeps what programs print.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._number = directory, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        modules: tuple[str, ...] = (),
        preloaded: tuple[str, ...] = (),
    ) -> Process:
        """Start a program.

        Args:
            arguments: As after ``python``: a file, ``-m`` and a module, or ``-c`` and code, and what they are given.
            cwd: Its working directory; this process's by default.
            environment: Its environment; this process's by default.
            modules: What else it finds imported, and all that are started later.
            preloaded: What the fork server of its ``multiprocessing`` has imported, which is then a fork, too.
        """
        self._number += 1
        output = self._directory / f"output-{self._number}"
        output.touch()
        found = self._ask(
            {
                "arguments": [str(argument) for argument in arguments],
                "directory": str(cwd or Path.cwd()),
                "environment": dict(os.environ if environment is None else environment),
                "output": str(output),
                "modules": modules,
                "preloaded": preloaded,
            }
        )
        return Process(self, found, output)

    def run(self, *arguments: str | Path, **options: Any) -> tuple[int, str]:
        """Run a program to its end, with the options of ``start``; returns its exit code and what it printed."""
        process = self.start(*arguments, **options)
        code = process.wait()
        return code, process.output.read_text("utf-8", errors="replace")

    def start_ranks(self, number: int, *arguments: str | Path, **options: Any) -> list[Process]:
        """Start a program in processes of one group, each of which gets from its environment what torchrun tells it."""
        from torch.distributed import TCPStore

        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun's agent keeps it
        group = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "WORLD_SIZE": str(number),
            "LOCAL_WORLD_SIZE": str(number),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        return [
            self.start(
                *arguments, environment={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **options
            )
            for rank in range(number)
        ]

    def run_ranks(self, number: int, *arguments: str | Path, **options: Any) -> str:
        """Run it to its end, which must be a success; returns what the first process printed."""
        processes = self.start_ranks(number, *arguments, **options)
        codes = [process.wait() for process in processes]
        printed = [process.output.read_text("utf-8", errors="replace") for process in processes]
        assert codes == [0] * number, f"{codes}\n" + "\n".join(printed)
        return printed[0]

    def close(self) -> None:
        """End the server, once all programs have ended."""
        self._process.communicate()

    def _wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _ask(self, request: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


# --- In the server ----------------------------------------------------------------------------------------------------


def serve() -> dict[str, Any] | None:
    """Fork for each request; in the fork, return the request."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        for module in request.get("modules", ()):
            importlib.import_module(module)
        if "wait" in request:
            found = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (found := os.fork()):
            answers.close()
            return request
        print(found, file=answers, flush=True)
    return None


_exit: dict[str, int] = {}
"""With which code the program ends, once it has."""


def end_at_once() -> None:
    """End a program that is done without taking its modules apart, which takes a second of a processor."""
    if "code" in _exit:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit["code"])


def become(request: dict[str, Any]) -> None:
    """Take on what a new process would have: directory, environment, output, signals and paths of modules."""
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    files = [os.open(os.devnull, os.O_RDONLY), os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)]
    for target, source in zip((0, 1, 2), (files[0], files[1], files[1]), strict=True):
        os.dup2(source, target)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first, *_ = request["arguments"]
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = "" if first.startswith("-") else str(Path(first).resolve().parent)
    before = sys.path[1:]
    sys.path[:] = [own, *filter(None, places), *(path for path in before if path not in places)]


def start_fork_server(preloaded: list[str]) -> None:
    """Start the server of multiprocessing's method "forkserver" as a fork of this process instead of a new Python."""

    def spawn(_python: str, arguments: list[str], descriptors: tuple[int, ...]) -> int:
        if found := os.fork():
            return found
        for before, after in pairwise(sorted({*range(3), *descriptors, os.sysconf("SC_OPEN_MAX")})):
            os.closerange(before + 1, after)  # as exec does; it ends once the last program has closed a pipe
        try:
            exec(arguments[-1])
        finally:
            os._exit(0)

    resource_tracker.ensure_running()
    forkserver.set_forkserver_preload(preloaded)
    with patch.object(util, "spawnv_passfds", spawn):
        forkserver.ensure_running()


def execute(arguments: list[str]) -> None:
    """Run the program as Python does."""
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    atexit.register(end_at_once)  # before all others, so that it is called after them
    gc.set_threshold(700, 10, 200)  # all objects are walked through a twentieth as often as by default: modules stay
    for name in MODULES:
        importlib.import_module(name)
    asked = serve()
    try:
        if asked is not None:
            become(asked)
            if asked["preloaded"]:
                start_fork_server(asked["preloaded"])
            execute(asked["arguments"])
        _exit["code"] = 0
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            _exit["code"] = ended.code or 0
        raise
