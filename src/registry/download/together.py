"""Several downloads at once, with the results and errors that they would have one after another.

Work that runs in the threads of ``together`` looks here for what it shares with its siblings: whether it is still
wanted, a free connection, and its place among the progress bars.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeAlias, TypeVar

from registry.download.progress import OrderedBars

T = TypeVar("T")

CONNECTIONS = 4
"""Downloads at once."""
LOOK_EVERY = 0.2
"""Seconds after which a thread that waits looks whether it is still wanted."""
GRACE = 2.0
"""Seconds in which threads that are no longer wanted end; those that wait for a silent server are left behind."""

Order: TypeAlias = tuple[int, ...]
"""The number of a job; for a job of a job, after the number of that one."""


class Stopped(BaseException):
    """The work of a thread is no longer wanted: an earlier job failed, or Ctrl-C was pressed."""


class _Shared:
    """What all jobs share that began with one call, also those that a job itself began."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.connections = threading.BoundedSemaphore(CONNECTIONS)
        self.responses: set[Any] = set()
        self.threads: list[threading.Thread] = []
        self.bars = OrderedBars()


class _Local(threading.local):
    shared: _Shared | None = None
    order: Order = ()


_local = _Local()


def together(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Call all jobs, several at once.

    Returns:
        Their results, in the order of the jobs.

    Raises:
        BaseException: What the first job in this order raised; later ones are stopped, as all are by Ctrl-C.
    """
    if len(jobs) < 2:
        return [job() for job in jobs]
    return _Team(jobs, _local.shared or _Shared(), _local.order).results()


# --- For the work inside ----------------------------------------------------------------------------------------------


def check_wanted() -> None:
    """Raise Stopped in a thread whose work is no longer wanted."""
    if _local.shared is not None and _local.shared.stop.is_set():
        raise Stopped


def pause(seconds: float) -> bool:
    """Wait in a thread of ``together``, and raise Stopped when it is no longer wanted; False in any other thread."""
    if _local.shared is None:
        return False
    _local.shared.stop.wait(seconds)
    check_wanted()
    return True


@contextmanager
def connection() -> Iterator[None]:
    """Wait for one of the ``CONNECTIONS``, and hold it."""
    shared = _local.shared
    if shared is None:
        yield
        return
    while not shared.connections.acquire(timeout=LOOK_EVERY):
        check_wanted()
    try:
        yield
    finally:
        shared.connections.release()


@contextmanager
def reading(body: Any) -> Iterator[None]:
    """Let a body of urllib3 end early when it is no longer wanted, although a thread waits for its next bytes."""
    shared = _local.shared
    if shared is None:
        yield
        return
    shared.responses.add(body)
    try:
        check_wanted()
        yield
    finally:
        shared.responses.discard(body)


def place_of_bar() -> tuple[OrderedBars, Order] | None:
    """The bars of all jobs, and the order of the one that runs in this thread; None in any other thread."""
    return None if _local.shared is None else (_local.shared.bars, _local.order)


# --- Inside -----------------------------------------------------------------------------------------------------------


class _Team:
    """The threads of one call, which take the jobs in their order."""

    def __init__(self, jobs: Sequence[Callable[[], Any]], shared: _Shared, order: Order) -> None:
        self._jobs = jobs
        self._shared = shared
        self._orders = [(*order, number) for number in range(len(jobs))]
        self._is_outermost = not order
        self._outcomes: list[tuple[Any, BaseException | None] | None] = [None] * len(jobs)
        self._changed = threading.Condition()
        self._waiting = deque(range(len(jobs)))
        shared.bars.expect(self._orders)

    def results(self) -> list[Any]:
        """What the jobs return, once all have; see ``together``."""
        try:
            if not self._start():
                return [job() for job in self._jobs]
            return [self._result(number) for number in range(len(self._jobs))]
        finally:
            if self._is_outermost:
                self._end()

    def _start(self) -> bool:
        """Start the threads; whether there is one: then it does all, where the system has no more."""
        for number in range(min(CONNECTIONS, len(self._jobs))):
            thread = threading.Thread(target=copy_context().run, args=(self._work,), daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return number > 0
            self._shared.threads.append(thread)
        return True

    def _result(self, number: int) -> Any:
        with self._changed:
            while (outcome := self._outcomes[number]) is None:
                self._changed.wait(LOOK_EVERY)  # without a limit, no signal would come through on Windows
                check_wanted()
        result, problem = outcome
        if problem is not None:
            raise problem
        return result

    def _work(self) -> None:
        _local.shared = self._shared
        while self._waiting:
            try:
                number = self._waiting.popleft()
            except IndexError:  # another thread was faster
                return
            _local.order = self._orders[number]
            outcome: tuple[Any, BaseException | None]
            try:
                check_wanted()
                outcome = self._jobs[number](), None
            except BaseException as problem:  # noqa: BLE001  # the caller raises it
                outcome = None, problem
                self._waiting.clear()  # what would come afterwards is not begun
            self._shared.bars.finish(self._orders[number])
            with self._changed:
                self._outcomes[number] = outcome
                self._changed.notify_all()

    def _end(self) -> None:
        """Stop what still runs: after an error of one job, or Ctrl-C."""
        self._shared.stop.set()
        for body in tuple(self._shared.responses):
            with suppress(Exception):
                body.shutdown()
        until = time.monotonic() + GRACE
        for thread in tuple(self._shared.threads):
            thread.join(max(0.0, until - time.monotonic()))
