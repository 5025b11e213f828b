"""Processes of one group that run functions at the same time: what a check of a divided model needs.

They are started once and kept, since starting one takes as long as many checks; where the system can fork, they are
copies of one process that has imported torch.  They talk over the loopback address, by gloo.
"""

import importlib
import importlib.util
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

from attrs import frozen

PATIENCE = 180.0
"""Seconds after which a function counts as hanging."""
PRELOADED = ["torch._dynamo", "registry.sharding.dividing", "registry.testing.on_ranks"]
"""What takes seconds to import, and is imported once for all processes; DTensor imports the first when it is used."""
STARTING = 240.0
"""Seconds in which processes must have started: they import torch, all at the same time."""


@frozen
class RankError:
    """How a function ended in one process."""

    rank: int
    text: str
    """The traceback."""


class RankPool:
    """Processes that run functions together; each is a rank of one group of torch.distributed.

    Args:
        number: How many there are.
    """

    def __init__(self, number: int = 2) -> None:
        self.number = number
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def run(self, reference: str, *arguments: Any, patience: float = PATIENCE) -> list[Any]:
        """Run a function in all processes.

        Args:
            reference: ``"module:function"``, or ``"path/to/file.py:function"``; the group is there when it is called.
            arguments: Its arguments, picklable.
            patience: Seconds after which it counts as hanging.

        Returns:
            What it returned, by rank.

        Raises:
            AssertionError: It raised an error in a process, or did not end, after which the processes are
                started again.
        """
        if not self._processes:
            self._start()
        for pipe in self._pipes:
            pipe.send((reference, arguments, dict(os.environ)))
        found = self._answers(monotonic() + patience)
        failed = [answer for answer in found if isinstance(answer, RankError)]
        if failed or len(found) < self.number:
            if len(found) < self.number:
                self.close()
            raise AssertionError(
                "\n".join(f"rank {answer.rank}:\n{answer.text}" for answer in failed)
                or f"{reference} did not end within {patience:.0f} seconds in all of {self.number} processes"
            )
        return found

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()
        self._processes, self._pipes = [], []
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _start(self) -> None:
        can_fork = "forkserver" in get_all_start_methods()
        context: Any = get_context("forkserver" if can_fork else "spawn")
        if can_fork:
            context.set_forkserver_preload(PRELOADED)
        self._directory = tempfile.TemporaryDirectory()
        store = str(Path(self._directory.name) / "store")
        for rank in range(self.number):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, self.number, store, theirs), daemon=True)
            process.start()
            self._processes.append(process)
            self._pipes.append(ours)
        if self._answers(monotonic() + STARTING) != ["ready"] * self.number:
            self.close()
            raise AssertionError(f"{self.number} processes did not start within {STARTING:.0f} seconds")

    def _answers(self, end: float) -> list[Any]:
        """The answers by rank, as far as they come in time; an error of one gives the others a second more."""
        answers: dict[int, Any] = {}
        while len(answers) < self.number and (left := end - monotonic()) > 0:
            open_pipes = [pipe for rank, pipe in enumerate(self._pipes) if rank not in answers]
            ready: Any = wait(open_pipes, timeout=left)
            for pipe in ready:
                rank = self._pipes.index(pipe)
                try:
                    answers[rank] = pipe.recv()
                except EOFError:
                    answers[rank] = RankError(rank, "the process ended")
                if isinstance(answers[rank], RankError):
                    end = min(end, monotonic() + 1)
        return [answers[rank] for rank in sorted(answers)]


def _serve(rank: int, number: int, store: str, pipe: Connection) -> None:
    """The program of each process."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(number))
    import torch
    from torch import distributed

    dist: Any = distributed  # torch does not declare all that it exports
    for module in PRELOADED:  # where nothing could be preloaded: now, and not while another process waits
        importlib.import_module(module)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(store, number),
        rank=rank,
        world_size=number,
        timeout=timedelta(seconds=PATIENCE),
    )
    pipe.send("ready")
    while True:
        try:
            reference, arguments, environment = pipe.recv()
        except EOFError:
            return
        os.environ.clear()
        os.environ.update(environment, RANK=str(rank), WORLD_SIZE=str(number), GLOO_SOCKET_IFNAME="lo")
        try:
            pipe.send(function(reference)(*arguments))
        except BaseException:  # noqa: BLE001  # the one who asked raises it
            pipe.send(RankError(rank, traceback.format_exc()))


def function(reference: str) -> Callable[..., Any]:
    """The function that ``"module:function"`` or ``"path/to/file.py:function"`` names."""
    module, _, name = reference.rpartition(":")
    if not module.endswith(".py"):
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    path = Path(module)
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[path.stem])
    return getattr(sys.modules[path.stem], name)  # type: ignore[no-any-return]
