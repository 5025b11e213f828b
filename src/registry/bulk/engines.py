"""What computes parts: this process, several, or a Ray cluster.

An engine takes parts one at a time, and gives the number of rows of each that is written, in whatever order.  A worker
that dies costs its part: another one computes it again.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from registry.bulk.job import Job, Part
from registry.errors import BulkError, RegistryError
from registry.extras import import_extra
from registry.tokenization.corpus.readers import ID

Engine: TypeAlias = Callable[[Job, Iterator[Part]], Iterator[int]]

ATTEMPTS = 3
"""How many workers may die of one part."""


def in_this_process(job: Job, parts: Iterator[Part]) -> Iterator[int]:
    """Compute the parts one after another."""
    return map(job.do, parts)


# --- Processes --------------------------------------------------------------------------------------------------------


class _Worker:
    """A process that computes parts, at the other end of a pipe."""

    def __init__(self, job: Job, workers: int) -> None:
        context = get_context("spawn")  # torch's threads do not survive a fork
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, job, workers), daemon=True)
        self.process.start()
        other.close()

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


class Processes:
    """An engine of several processes, which share the cores among them.

    Args:
        workers: The number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def __call__(self, job: Job, parts: Iterator[Part]) -> Iterator[int]:
        """Compute the parts, each in whichever process is free.

        Raises:
            BulkError: ``ATTEMPTS`` processes died of one part.
            RegistryError: What the work raised.
        """
        deaths: Counter[int] = Counter()
        again: list[Part] = []
        busy: dict[Any, tuple[_Worker, Part]] = {}

        def give(worker: _Worker | None) -> None:
            part = again.pop() if again else next(parts, None)
            if part is not None:
                worker = worker or _Worker(job, self._workers)
                busy[worker.pipe] = worker, part
                with suppress(OSError):  # it is dead, which its end of the pipe says as well
                    worker.pipe.send(part)
            elif worker is not None:
                worker.end()

        try:
            for _ in range(self._workers):
                give(None)
            while busy:
                for pipe in wait(list(busy)):
                    worker, part = busy.pop(pipe)
                    try:
                        answer = worker.pipe.recv()
                    except (EOFError, OSError):
                        worker.end()
                        deaths[part.number] += 1
                        _check_deaths(deaths[part.number], part, worker.process.exitcode)
                        again.append(part)
                        give(None)
                        continue
                    give(worker)
                    if isinstance(answer, RegistryError):
                        raise answer
                    yield answer
        finally:
            for worker, _ in busy.values():
                worker.end()


def _check_deaths(deaths: int, part: Part, exit_code: int | None) -> None:
    """Raise BulkError when as many processes died of a part as may."""
    if deaths == ATTEMPTS:
        first, last = part.columns[ID][0], part.columns[ID][-1]
        raise BulkError(
            f"{deaths} processes died while they computed part {part.number} (ids {first} to {last}); the last one's "
            f"exit code is {exit_code}.",
            hint="Was memory exhausted?  Fewer workers, or a smaller tokens_per_batch, need less.",
        )


def _serve(pipe: Connection, job: Job, workers: int) -> None:
    """Compute what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one ends us
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    while True:
        try:
            part = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = job.do(part)
        except RegistryError as problem:
            answer = problem
        pipe.send(answer)


# --- Ray --------------------------------------------------------------------------------------------------------------


class RayCluster:
    """An engine of actors on a Ray cluster, which schedules, retries and restarts them.

    The directory of the job and the files of the model must be the same on all of its machines.

    Args:
        address: The cluster's, as ``ray.init`` takes it; None starts Ray on this machine.
        workers: The number of actors.
        resources: What each actor needs, as ``ray.remote`` takes it: ``{"num_gpus": 1}``.
    """

    def __init__(self, address: str | None = None, workers: int = 1, resources: dict[str, Any] | None = None) -> None:
        self._address, self._workers, self._resources = address, workers, {"num_cpus": 1, **(resources or {})}

    def __call__(self, job: Job, parts: Iterator[Part]) -> Iterator[int]:
        """Compute the parts, each by whichever actor is free.

        Raises:
            BulkError: Actors died of one part again and again, or there is no cluster.
            RegistryError: What the work raised.
        """
        ray = import_extra("ray", "A Ray cluster")
        started = not ray.is_initialized()
        if started:
            ray.init(address=self._address, include_dashboard=False, log_to_driver=False, configure_logging=False)
        remote = ray.remote(max_restarts=-1, max_task_retries=ATTEMPTS - 1, **self._resources)(_Actor)
        try:
            idle = [remote.remote(job) for _ in range(self._workers)]
            busy: dict[Any, Any] = {}
            while True:
                while idle and (part := next(parts, None)) is not None:
                    actor = idle.pop()
                    busy[actor.do.remote(part)] = actor
                if not busy:
                    return
                done, _ = ray.wait(list(busy), num_returns=1)
                idle.append(busy.pop(done[0]))
                yield _answer(ray, done[0])
        finally:
            if started:
                ray.shutdown()


def _answer(ray: Any, reference: Any) -> int:
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        raise cause if isinstance(cause, RegistryError) else problem from None
    except ray.exceptions.RayError as problem:
        raise BulkError(f"A part could not be computed: {problem}") from problem
    return int(answer)


class _Actor:
    """Computes parts on a machine of the cluster."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def do(self, part: Part) -> int:
        """Compute and write a part."""
        return self._job.do(part)
