"""The ids of the texts of files, computed part by part, in this process or in several."""

import pickle
import signal
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias, TypeVar

from registry.errors import BulkError
from registry.garbage import gc_spared
from registry.tokenization.chunk_cache import TokenIds
from registry.tokenization.corpus.parts import Portion

if TYPE_CHECKING:
    from registry.tokenization.batches.encoder import BatchEncoder

T = TypeVar("T")

AHEAD = 2
"""Parts that a worker has at a time: while the ids of one are sent, it computes the next."""

Outcome: TypeAlias = "tuple[TokenIds | Exception, bytes]"
"""Of a part: the number of ids of each text, or what was raised; and the ids as they lie in memory."""


class Packer(NamedTuple):
    """Computes the ids of parts."""

    tokenizer: "BatchEncoder"
    add_special_tokens: bool
    max_length: int | None

    def __call__(self, part: Portion) -> Outcome:
        """What comes of a part."""
        try:
            return self.tokenizer.packed(part.texts(), *self[1:])
        except Exception as problem:  # noqa: BLE001  # it is raised once the parts before this one were given
            return problem, b""

    def rows(self, outcome: Outcome) -> Iterator[TokenIds]:
        """The ids of each text of a part, or its error."""
        lengths, ids = outcome
        if isinstance(lengths, Exception):
            raise lengths
        if self.max_length is None:
            self.tokenizer._warn_of_length(max(lengths, default=0), None)
        ends = list(accumulate(lengths, initial=0))
        return map(array("q", ids).__getitem__, map(slice, ends, ends[1:]))


def in_this_process(packer: Packer, parts: Iterable[Portion]) -> Iterator[TokenIds]:
    """The ids of each text."""
    for part in parts:
        yield from packer.rows(packer(part))


def in_processes(packer: Packer, parts: Iterator[Portion], workers: int) -> Iterator[TokenIds]:
    """The same, computed by several processes, which are started when the first ids are asked for.

    This process is one of them: it computes parts while it would wait for those of others.

    Raises:
        BulkError: A process died.
        InputError: A file is damaged.
    """
    others: list[_OtherProcess] = []
    waiting: deque[_OtherProcess | Outcome] = deque()  # for each part, in order: what came of it, or who computes it
    try:
        others.extend(_OtherProcess(packer) for _ in range(workers - 1))
        while True:
            for other in others:
                waiting.extend(other.take(parts))
            first = waiting[0] if waiting else None
            is_late = first is None or (isinstance(first, _OtherProcess) and not first.pipe.poll())
            if is_late and len(waiting) <= AHEAD * workers and (part := next(parts, None)) is not None:
                waiting.append(packer(part))
            elif first is None:
                return
            else:
                waiting.popleft()
                yield from packer.rows(first.outcome() if isinstance(first, _OtherProcess) else first)
    finally:
        for other in others:
            other.end()


class _OtherProcess:
    """Another process, at the other end of a pipe."""

    def __init__(self, packer: Packer) -> None:
        context = get_context("spawn")  # threads do not survive a fork
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.sender = _Sender(self.pipe)
        self.sender.send(pickle.dumps(packer))
        self.has_started = False
        self.parts = 0
        """Parts that it has."""

    def take(self, parts: Iterator[Portion]) -> Iterator[Self]:
        """Give it as many parts as it may have, once it has started: itself for each of them."""
        if not self.has_started and self.pipe.poll():
            self.has_started = self._receive(self.pipe.recv)
        while self.has_started and self.parts < AHEAD and (part := next(parts, None)) is not None:
            self.sender.send(pickle.dumps(part))
            self.parts += 1
            yield self

    def outcome(self) -> Outcome:
        """What came of the first part that it has.  Raises BulkError where it died."""
        self.parts -= 1
        return self._receive(self.pipe.recv), self._receive(self.pipe.recv_bytes)

    def _receive(self, receive: Callable[[], T]) -> T:
        try:
            return receive()
        except (EOFError, OSError) as problem:
            raise BulkError(
                "A process that tokenizes texts died.",
                hint='Was memory exhausted?  Does the script that asks for workers lack `if __name__ == "__main__":`?',
            ) from problem

    def end(self) -> None:
        self.process.kill()  # a script that processes import may have a handler of what ``terminate`` sends
        self.process.join()
        self.sender.end()
        self.pipe.close()


class _Sender:
    """Sends bytes through a pipe, in a thread: neither end of the pipe waits until the other one reads."""

    def __init__(self, pipe: Connection) -> None:
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self.send = self._waiting.put
        self._thread = Thread(target=self._send_all, args=(pipe,), daemon=True)
        self._thread.start()

    def _send_all(self, pipe: Connection) -> None:
        with suppress(OSError):  # the process at the other end died, which the pipe says to those who read as well
            for sent in iter(self._waiting.get, None):
                pipe.send_bytes(sent)

    def end(self) -> None:
        self.send(None)
        self._thread.join()


# --- In a worker ------------------------------------------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    """Compute the parts that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one ends us
    send = _Sender(pipe).send
    with suppress(EOFError):
        with gc_spared():
            packer: Packer = pipe.recv()
        send(pickle.dumps(True))  # it has started
        while True:
            lengths, ids = packer(pipe.recv())
            send(pickle.dumps(lengths))
            send(ids)
